"""YAML both ways: in by pasting or opening, out by copying or downloading."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, expect

from browser.reading import expect_trainable_params, open_tab, trainable_params, type_yaml, yaml_text
from lora_explorer import presets

pytestmark = pytest.mark.browser

RECIPES = sorted((presets.folder() / "recipes").glob("*.yml"))
START = "llama-3-8b-lora.yml"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_every_preset_recipe_opens_and_comes_out_again_word_for_word(page: Page, recipe: Path, tmp_path: Path) -> None:
    open_tab(page, "YAML")
    page.set_input_files("input[type=file][accept*=yml]", recipe)
    first_line = recipe.read_text(encoding="utf-8").partition("\n")[0]
    expect(page.locator("#yaml")).to_contain_text(first_line, timeout=20_000)
    rank = yaml.safe_load(recipe.read_text(encoding="utf-8"))["lora_r"]
    expect(page.locator("#lora_r input[type=number]")).to_have_value(str(rank), timeout=20_000)
    expect(page.locator(".problems .error")).to_have_count(0)
    assert _downloaded(page, tmp_path) == recipe.read_text(encoding="utf-8")


def test_a_moved_slider_changes_its_line_of_the_text_and_no_other(page: Page) -> None:
    open_tab(page, "YAML")
    before = yaml_text(page).splitlines()
    page.locator("#lora_r input[type=range]").fill("64")
    expect(page.locator("#yaml")).to_contain_text("lora_r: 64", timeout=20_000)
    after = yaml_text(page).splitlines()
    assert [line for line in after if line not in before] == ["lora_r: 64"]
    assert len(after) == len(before)


def test_an_edited_text_moves_the_control_and_the_count(page: Page) -> None:
    open_tab(page, "YAML")
    type_yaml(page, yaml_text(page).replace("lora_r: 32", "lora_r: 128"))
    expect(page.locator("#lora_r input[type=number]")).to_have_value("128", timeout=20_000)
    assert page.input_value("#lora_r input[type=range]") == "128"
    expect_trainable_params(page, 4 * 83_886_080)


def test_the_downloaded_file_is_yaml_with_what_the_screen_shows(page: Page, tmp_path: Path) -> None:
    page.locator("#lora_alpha input[type=number]").fill("48")
    open_tab(page, "YAML")
    expect(page.locator("#yaml")).to_contain_text("lora_alpha: 48", timeout=20_000)
    values = yaml.safe_load(_downloaded(page, tmp_path))
    assert (values["lora_alpha"], values["lora_r"]) == (48, 32)


def test_unknown_keys_are_named_with_the_nearest_known_one_and_stay(page: Page, tmp_path: Path) -> None:
    open_tab(page, "YAML")
    type_yaml(page, yaml_text(page) + "\nlora_rank: 64 # my own\n")
    expect(page.locator("#yaml-reading")).to_contain_text("lora_rank", timeout=20_000)
    page.locator("#lora_r input[type=range]").fill("40")
    expect(page.locator("#yaml")).to_contain_text("lora_r: 40", timeout=20_000)
    assert "lora_rank: 64 # my own" in _downloaded(page, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- list\n",
        "lora_r:\t32\n\tlora_alpha: 1\n",
        "x: !!python/object/apply:os.getcwd []\n",
        "lora_alpha: text\n",
    ],
    ids=["a list", "a tab", "a python tag", "alpha as text"],
)
def test_text_that_cannot_be_used_gets_a_sentence_and_changes_nothing(page: Page, text: str) -> None:
    before = trainable_params(page)
    type_yaml(page, text)
    expect(page.locator("#yaml-reading .problems .error")).to_have_count(1, timeout=20_000)
    assert trainable_params(page) == before
    assert page.input_value("#lora_r input[type=number]") == "32"


def test_copy_puts_the_text_on_the_clipboard_from_any_tab(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#copy-yaml").click()
    expect(page.locator("#copy-yaml")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == (presets.folder() / "recipes" / START).read_text(encoding="utf-8")


def test_a_regex_opened_from_a_file_shows_and_survives_another_change(page: Page, tmp_path: Path) -> None:
    open_tab(page, "YAML")
    text = yaml_text(page).replace("lora_target_linear: true", r"lora_target_modules: '.*self_attn\.(q|v)_proj'")
    type_yaml(page, text)
    expect(page.locator("#lora_target_modules")).to_contain_text(r"regex: .*self_attn\.(q|v)_proj", timeout=20_000)
    page.locator("#lora_r input[type=range]").fill("64")
    expect(page.locator("#yaml")).to_contain_text("lora_r: 64", timeout=20_000)
    assert yaml.safe_load(_downloaded(page, tmp_path))["lora_target_modules"] == r".*self_attn\.(q|v)_proj"


def _downloaded(page: Page, folder: Path) -> str:
    with page.expect_download() as waiting:
        page.locator("#download-yaml").click()
    assert waiting.value.suggested_filename.endswith(".yml")
    waiting.value.save_as(folder / "downloaded.yml")
    return (folder / "downloaded.yml").read_text(encoding="utf-8")
