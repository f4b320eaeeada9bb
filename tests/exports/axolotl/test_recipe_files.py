"""The recipes that come along are fine: readable, without a finding, and unchanged by a round trip."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_explorer import presets
from lora_explorer.base_models import find_preset
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.settings import find_problems

FILES = sorted((presets.folder() / "recipes").glob("*.yml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_file_is_fine(file: Path):
    text = file.read_text(encoding="utf-8")
    imported = import_axolotl(text)
    assert {finding.severity for finding in imported.findings} <= {"note"}
    assert find_problems(imported.recipe) == ()
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
