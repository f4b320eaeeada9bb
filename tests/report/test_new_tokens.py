"""New tokens in words: whether they need anything, each way with its costs, one press to go it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from lora_explorer.adapters.new_tokens import NewTokens, NewTokensAdvice, Way
from lora_explorer.memory.new_tokens import Weight
from lora_explorer.report.new_tokens import QUESTION, fix_of_way, new_tokens_panel, title
from lora_explorer.report.records import new_tokens_record
from lora_explorer.settings import Recipe

GIB = 1 << 30
FIX = (("lora_modules_to_save", ("embed_tokens", "lm_head")),)
WHOLE = Way("Train both in full", (), Recipe(), 1_050_673_152, 2 * GIB, fix=FIX)
ROWS = Way("Train only their rows", (), Recipe(), 16_384, 65_536, caution="Not <now>.")
CLOSED = Way("Another", (), None, None, None, refused="PEFT says no.")
ADVICE = NewTokensAdvice(
    NewTokens(tokens=("<a>", "<b>")), "needed", "They are needed.", ("e", "h"), ("e",), Recipe(), (WHOLE, ROWS, CLOSED)
)
WEIGHTS = (Weight(26 * GIB, 10 * GIB, False, True), Weight(16 * GIB, 100, True, True), None)


def panel(advice: NewTokensAdvice = ADVICE, weights: Any = WEIGHTS, typed: str = "") -> str:
    return new_tokens_panel(advice, weights, typed, "RTX 4090")


def test_each_way_says_what_it_adds() -> None:
    html = panel()
    for said in ("+1.05 B", "+2 GiB", "+10 GiB", "not on RTX 4090", "+16.4 k", "+64 KiB", "PEFT says no."):
        assert said in html
    assert 'title="1,050,673,152"' in html


def test_what_hardly_weighs_is_said_to_be_nothing() -> None:
    assert '<td title="16.0 GiB in all" data-value="100">none</td>' in panel()


def test_while_ways_are_traced_their_place_is_kept() -> None:
    assert panel(weights=()).count("<td>…</td>") == 2
    assert panel(weights=(None, None, None)).count("<td>unknown</td>") == 2


def test_one_press_goes_a_way_and_only_one_that_is_known() -> None:
    html = panel(typed="<a>, <b>")
    (found,) = re.findall(r'data-mend="([^"]*)"', html)
    pressed = json.loads(unescape(found))
    assert pressed == {"way": "Train both in full", "typed": "<a>, <b>"}
    assert fix_of_way(pressed, ADVICE) == FIX


@pytest.mark.parametrize("pressed", [None, 7, {}, {"way": 7}, {"way": []}, {"way": "Train only their rows"}, ["way"]])
def test_a_press_that_means_nothing_changes_nothing(pressed: Any) -> None:
    assert fix_of_way(pressed, ADVICE) == ()


def test_the_way_of_the_file_is_named_and_has_no_button() -> None:
    html = panel(replace(ADVICE, ways=(replace(WHOLE, is_chosen=True),)), WEIGHTS[:1])
    assert "in the file" in html
    assert "<button" not in html


def test_the_title_says_how_many_and_whether_they_need_anything() -> None:
    assert title(None) == title(replace(ADVICE, new_tokens=NewTokens())) == QUESTION
    assert title(ADVICE) == "2 new tokens: training embedding and head is needed"


def test_markup_in_a_file_stays_text() -> None:
    assert "<now>" not in panel()
    assert "<img" not in panel(typed="<img>")


def test_a_record_keeps_every_figure() -> None:
    record = json.loads(json.dumps(new_tokens_record(ADVICE, WEIGHTS)))
    whole, _, closed = record["ways"]
    assert (whole["trainable_params"], whole["more_process_bytes"], whole["fits"]) == (1_050_673_152, 10 * GIB, False)
    assert whole["changes"] == {"lora_modules_to_save": ["embed_tokens", "lm_head"]}
    assert (closed["trainable_params"], closed["process_bytes"], closed["refused"]) == (None, None, "PEFT says no.")
