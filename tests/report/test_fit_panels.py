"""The panels of the tab Fit: what is needed more comes first, what is not known is said, sources are links."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.exploration.advice import Advice, Step
from lora_explorer.exploration.costs import _COSTS, cost_of
from lora_explorer.exploration.search import Largest
from lora_explorer.memory import CardFit, find_card
from lora_explorer.memory.savings import Saving
from lora_explorer.report import speed_words
from lora_explorer.report.advice import advice_list
from lora_explorer.report.fit_panel import Found, Presses, Unknown, fit_panel, unknown_panel, whole
from lora_explorer.report.html import Html
from lora_explorer.report.setting_help import address_of

GIB = 1 << 30
CARD = find_card("RTX 4090")
FITS = CardFit(CARD.name, 24 * GIB, True, 2 * GIB, "fits")
SHORT = CardFit(CARD.name, 24 * GIB, False, -2 * GIB, "does not fit")
PRESSES = Presses(lambda each: each.changes, lambda each: {each.setting: each.value}, lambda each: {})
NOT_ENOUGH = Advice((Step(Saving("lora_r", 8, {"lora_r": 8}, GIB, GIB), cost_of("lora_r", 8)),), makes_fit=False)


def places(shown: str) -> list[str]:
    return re.findall(r'id="(fit-changes|fit-largest)"', shown)


def test_what_to_change_comes_first_where_it_does_not_fit_and_the_room_where_it_does() -> None:
    assert places(fit_panel(Found(SHORT, total=1), PRESSES)) == ["fit-changes", "fit-largest"]
    assert places(fit_panel(Found(FITS, total=1), PRESSES)) == ["fit-largest", "fit-changes"]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Found(SHORT, tried=1, total=3), "1 of 3"),
        (Found(SHORT, single=(NOT_ENOUGH,), tried=3, total=3), "are being sought"),
        (Found(SHORT, single=(NOT_ENOUGH,), tried=3, total=3, has_sought=True), "No few changes together"),
        (Found(SHORT, single=(NOT_ENOUGH,), tried=3, total=3, has_sought=True,
               together=replace(NOT_ENOUGH, makes_fit=True)), "these together are"),
    ],
    ids=["tracing", "seeking", "none", "some"],
)  # fmt: skip
def test_each_stage_of_the_search_for_several_changes_has_its_words(found: Found, words: str) -> None:
    shown = fit_panel(found, PRESSES)
    assert words in shown
    assert shown.count("fit-place") == 1


def test_sizes_of_which_none_fits_are_one_sentence() -> None:
    none = tuple(Largest(name, 2, None, None, 1, SHORT, "", 3) for name in ("micro_batch_size", "lora_r"))
    shown = fit_panel(Found(SHORT, largest=none, seeks_largest=False), PRESSES)
    assert "Not even the smallest batch, length or rank fits alone" in shown
    assert "not even 1 fits" not in shown


def test_what_is_not_known_says_why_and_shows_only_sizes_that_fit() -> None:
    sizes = (Largest("micro_batch_size", 2, 8, 8, 1, FITS, "", 3), Largest("lora_r", 2, None, None, 1, None, "", 3))
    shown = unknown_panel(Unknown("<Too much>.", CARD, None, sizes, seeks_largest=False), PRESSES)
    assert "RTX 4090: not known. &lt;Too much&gt;." in shown
    assert "micro_batch_size: up to 8" in shown
    assert "lora_r" not in shown


def test_an_answer_carries_the_number_of_its_question() -> None:
    assert whole(7, Html("")) == '<div class="fit-whole" data-answered="7"></div>'


@pytest.mark.parametrize("setting", _COSTS)
def test_the_source_of_every_cost_is_a_link(setting: str) -> None:
    value: Any = "paged_adamw_8bit" if setting == "optimizer" else True
    cost = cost_of(setting, value)
    shown = advice_list([Advice((Step(Saving(setting, value, {setting: value}, 1, 1), cost),), makes_fit=False)])
    assert f'href="{address_of(cost.source)}"' in shown


@pytest.mark.parametrize(("count", "words"), [(735 * 10**12, "735 TFLOP"), (2 * 10**15, "2 PFLOP"), (10**9, "1 GFLOP")])
def test_operations_are_told_with_three_digits(count: int, words: str) -> None:
    assert speed_words.operations(count) == words
