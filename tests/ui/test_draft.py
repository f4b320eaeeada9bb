"""The draft: what was opened, what was touched, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lora_explorer import presets
from lora_explorer.base_models import Access, find_preset
from lora_explorer.errors import ExplorerError, InvalidSettings, UnknownBaseModel
from lora_explorer.exports.axolotl import export_axolotl
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.page import start_draft

RECIPES = sorted((presets.folder() / "recipes").glob("*.yml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_widgets_that_still_show_the_file_change_nothing_of_it(recipe: Path) -> None:
    draft = Draft(recipe.read_text(encoding="utf-8"))
    touched = replace(draft, touched=dict(draft.shown))
    assert touched.recipe == draft.opened.recipe
    assert touched.recipe.model_fields_set == draft.opened.recipe.model_fields_set
    assert export_axolotl(touched.recipe, draft.text) == draft.text


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_what_the_page_keeps_is_the_same_draft_when_it_comes_back(recipe: Path) -> None:
    draft = Draft(recipe.read_text(encoding="utf-8"), {"lora_r": 64}, card="T4", config="{}", config_for="a/b")
    assert Draft.from_page(json.loads(json.dumps(draft.for_page()))) == draft


def test_a_touched_widget_changes_its_setting_alone() -> None:
    draft = start_draft()
    changed = replace(draft, touched={"lora_r": 64}).recipe
    different = [name for name in SETTINGS if getattr(changed, name) != getattr(draft.recipe, name)]
    assert different == ["lora_r"]


def test_a_widget_that_went_back_to_the_file_is_untouched_again() -> None:
    draft = start_draft()
    assert replace(draft, touched={"lora_r": draft.shown["lora_r"]}).recipe is draft.opened.recipe


def test_a_cleared_widget_takes_its_key_away() -> None:
    recipe = replace(start_draft(), touched={"learning_rate": None}).recipe
    assert recipe.learning_rate is None


def test_every_setting_at_fault_gets_its_own_sentence() -> None:
    with pytest.raises(InvalidSettings) as refused:
        _ = replace(start_draft(), touched={"lora_rank_pattern": "{", "lora_alpha_pattern": "{"}).recipe
    assert {finding.setting for finding in refused.value.findings} == {"lora_rank_pattern", "lora_alpha_pattern"}


@pytest.mark.parametrize(
    "sent",
    [None, 3, [], {}, {"text": 3}, {"text": "adapter: lora", "touched": [1]}, {"touched": {"no_such": 1}}],
    ids=repr,
)
def test_a_draft_that_no_page_would_send_is_read_or_refused_in_a_sentence(sent: object) -> None:
    draft = Draft.from_page(sent)
    if not draft.text:
        with pytest.raises(ExplorerError, match="empty"):
            _ = draft.recipe
    else:
        assert draft.recipe.adapter == "lora"


def test_an_uploaded_config_counts_until_another_base_model_is_chosen() -> None:
    preset = find_preset("openai-community/gpt2") or find_preset("gpt2")
    assert preset is not None
    draft = start_draft()
    uploaded = replace(draft, config=preset.config_json, config_for=draft.recipe.base_model)
    assert uploaded.base_model(draft.recipe, Access()).config_json == preset.config_json
    other = replace(uploaded, touched={"base_model": "mistralai/Mistral-7B-v0.1"})
    assert other.base_model(other.recipe, Access()).config_json != preset.config_json


def test_a_folder_is_refused_on_a_public_page(tmp_path: Path) -> None:
    draft = replace(start_draft(), touched={"base_model": str(tmp_path)})
    with pytest.raises(UnknownBaseModel) as refused:
        draft.base_model(draft.recipe, Access(folders=False))
    assert refused.value.findings[0].setting == "base_model"
