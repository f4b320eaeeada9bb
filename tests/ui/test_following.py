"""What the widgets show when another whole draft takes the place of the one before, or something is pressed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.settings import SETTINGS
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.following import show_pressed, show_replaced

LORA = "# mine\nbase_model: gpt2\nadapter: lora\nlora_r: 8\nlora_alpha: 8\nlora_target_linear: true\n"
SKIPPED = {"__type__": "update"}


def put(before: Draft, after: Draft) -> tuple[Any, ...]:
    return show_replaced(after.for_page() | {"before": before.for_page()})


def test_another_draft_is_shown_whole_and_what_it_shares_with_the_one_before_is_not_written_again() -> None:
    before = Draft(LORA, {"lora_r": 64}, card="RTX 4090")
    after = Draft(LORA.replace("8", "16"), {"lora_dropout": 0.5}, card="T4", expandable_segments=False)
    card, segments, editor, desk, *widgets = put(before, after)
    assert (card, segments) == ("T4", False)
    assert "lora_dropout: 0.5" in editor
    assert "# mine" in editor
    assert Draft.from_page(desk).recipe == after.recipe
    written = {name: shown for name, shown in zip(SETTINGS, widgets, strict=True) if shown != SKIPPED}
    assert written == {"lora_r": 16, "lora_alpha": 16, "lora_dropout": 0.5}


def test_there_and_back_is_the_same_recipe_card_and_text() -> None:
    before, after = Draft(LORA, {"lora_r": 64}), Draft("base_model: gpt2\n", card="T4")
    there = Draft.from_page(put(before, after)[3])
    back = Draft.from_page(put(there, before)[3])
    assert (back.recipe, back.written, back.card) == (before.recipe, before.written, before.card)


def test_what_a_widget_tells_after_it_was_written_is_in_the_draft_already() -> None:
    after = replace(Draft(LORA), text=LORA + "lora_target_modules: [c_attn]\n")
    _, _, _, desk, *widgets = put(Draft(LORA), after)
    told = dict(zip(SETTINGS, widgets, strict=True))["lora_target_modules"]
    assert desk["touched"]["lora_target_modules"] == told == ["c_attn"]


@pytest.mark.parametrize("text", ["a: [", "lora_r: many\n"])
def test_a_draft_that_cannot_be_read_changes_no_widget_and_its_text_is_kept(text: str) -> None:
    _, _, editor, _, *widgets = put(Draft(LORA), Draft(text))
    assert editor == text
    assert all(shown == SKIPPED for shown in widgets)


def test_a_card_can_be_pressed_where_the_settings_cannot_be_used() -> None:
    bad = Draft("lora_r: 0\n", card="T4").for_page() | {"pressed": ["card", "lora_r"]}
    card, *others = show_pressed(bad)
    assert card == "T4"
    assert all(other == SKIPPED for other in others)
