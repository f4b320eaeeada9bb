"""The recipes that come along are fine: readable, without a finding, and unchanged by a round trip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lora_explorer import presets
from lora_explorer.base_models import find_preset
from lora_explorer.errors import UnknownRecipe
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.recipe_files import find_recipe_file, recipe_files
from lora_explorer.settings import Recipe, find_problems

FILES = sorted((presets.folder() / "recipes").glob("*.yml"))


def told(recipe: Recipe) -> list[str]:
    """Of which settings there is something to know all the same: an adapter to go on from decides for the others."""
    return ["lora_model_dir"] if recipe.lora_model_dir else []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_file_is_fine(file: Path):
    text = file.read_text(encoding="utf-8")
    imported = import_axolotl(text)
    assert {finding.severity for finding in imported.findings} <= {"note"}
    assert [finding.setting for finding in find_problems(imported.recipe)] == told(imported.recipe)
    assert export_axolotl(imported.recipe, text) == text
    assert import_axolotl(export_axolotl(imported.recipe)).recipe == imported.recipe
    assert text.startswith("# ")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_file_works_offline(file: Path):
    recipe = import_axolotl(file.read_text(encoding="utf-8")).recipe
    assert recipe.base_model is not None
    assert find_preset(recipe.base_model) is not None


def test_the_page_starts_with_the_recipe_of_axolotls_llama_3_page():
    recipe = import_axolotl((presets.folder() / "recipes" / "llama-3-8b-lora.yml").read_text(encoding="utf-8")).recipe
    assert (recipe.adapter, recipe.lora_r, recipe.lora_alpha, recipe.lora_dropout) == ("lora", 32, 16, 0.05)
    assert recipe.lora_target_linear
    assert not recipe.lora_target_modules
    assert not recipe.lora_fan_in_fan_out
    assert recipe.lora_model_dir is None
    assert recipe.base_model == "NousResearch/Meta-Llama-3-8B"


def test_every_recipe_file_is_listed_once_with_a_title_and_a_purpose_of_its_own():
    listed = recipe_files()
    assert sorted(file.name for file in listed) == [file.stem for file in FILES]
    assert listed[0].name == "llama-3-8b-lora"
    assert len({file.title for file in listed}) == len({file.purpose for file in listed}) == len(FILES)
    for file in listed:
        assert file.text == (presets.folder() / "recipes" / f"{file.name}.yml").read_text(encoding="utf-8")
        assert file.text.startswith(f"# {file.title}\n# {file.purpose.split()[0]} ")
        assert len(file.title) <= 30
        assert file.purpose.endswith(".")
        assert "#" not in file.title + file.purpose


@pytest.mark.parametrize(
    ("purpose", "holds"),
    [
        ("a tiny GPU", lambda recipe: recipe.load_in_4bit and recipe.adapter == "qlora"),
        ("long context", lambda recipe: recipe.sequence_len >= 32_768),
        ("DoRA", lambda recipe: recipe.peft_use_dora),
        ("rsLoRA at a high rank", lambda recipe: recipe.peft_use_rslora and recipe.lora_r >= 128),
        ("experts", lambda recipe: recipe.target_parameter_names),
        ("new tokens", lambda recipe: recipe.lora_modules_to_save),
        ("continuing an adapter", lambda recipe: recipe.lora_model_dir),
    ],
)
def test_there_is_a_recipe_for_each_purpose_that_people_come_with(purpose: str, holds: Callable[[Recipe], object]):
    assert [file.name for file in recipe_files() if holds(import_axolotl(file.text).recipe)], purpose


def test_what_continues_an_adapter_repeats_the_settings_of_the_run_that_left_it():
    first, later = (find_recipe_file(name) for name in ("llama-3-8b-lora", "llama-3-8b-continue"))
    before, after = (import_axolotl(file.text).recipe for file in (first, later))
    assert f"output_dir: {after.lora_model_dir}\n" in first.text
    assert f"output_dir: {after.lora_model_dir}\n" not in later.text
    for name in ("base_model", "lora_r", "lora_alpha", "lora_target_linear"):
        assert getattr(before, name) == getattr(after, name)


def test_a_recipe_is_found_by_its_name_or_the_only_one_that_begins_so():
    assert find_recipe_file("Mistral-7B-DoRA.yml").name == find_recipe_file("mistral-7b-d").name == "mistral-7b-dora"


@pytest.mark.parametrize("name", ["", "  ", "llama-3", "no-such", "../llama-3-8b-lora", "llama-3-8b-lora.yaml"])
def test_a_name_that_is_none_or_several_is_told_with_those_there_are(name: str):
    with pytest.raises(UnknownRecipe, match=r"choose one of: .*llama-3-8b-lora"):
        find_recipe_file(name)
