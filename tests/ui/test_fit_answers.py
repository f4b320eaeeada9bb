"""The tab Fit: what it promises is what pressing it then shows, to the byte, and bad input has its sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from html import unescape
from typing import Any, NamedTuple

import gradio as gr
import pytest

from lora_explorer.base_models import Access
from lora_explorer.errors import ExplorerError
from lora_explorer.exploration.prediction import Question
from lora_explorer.exploration.several_cards import WAYS, fit_together
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.fit_answers import FitAnswers
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.typed_numbers import typed_number

ANSWERS = Answers(Access(hub=False, folders=False))
FIT = FitAnswers(ANSWERS, public=True)
SMALL = {"base_model": "HuggingFaceTB/SmolLM2-135M", "sequence_len": 512}
LARGE_STEP = SMALL | {"sequence_len": 4096, "micro_batch_size": 16}
CASES: dict[str, tuple[dict[str, Any], str, bool]] = {
    "fits": (SMALL, "RTX 4090", True),
    "does not fit": (LARGE_STEP, "RTX 3070", True),
    "together": (LARGE_STEP | {"sequence_len": 8192, "micro_batch_size": 32}, "RTX 3070", True),
    "another kernel": (SMALL | {"micro_batch_size": 4}, "T4", True),
    "plain segments, DoRA": (LARGE_STEP | {"peft_use_dora": True, "lora_dropout": 0.1}, "RTX 3060 12GB", False),
}


def sent(case: str) -> dict[str, Any]:
    touched, card, segments = CASES[case]
    return replace(start_draft(), touched=touched, card=card, expandable_segments=segments).for_page()


@lru_cache(maxsize=4)
def answer(case: str) -> tuple[str, str]:
    """What stands there in the end: the changes, and the cards."""
    *_, last = FIT.help(sent(case))
    return str(last[0]), str(last[1])


class Press(NamedTuple):
    """A button: what it changes, what it says that it saves, and whether it says that the run then fits."""

    touches: dict[str, Any]
    saved: int | None
    makes_fit: bool


def presses(shown: str, marker: str = "data-touches") -> list[Press]:
    """marker: what is among the button's attributes."""
    buttons = [found for found in re.findall(r"<button([^>]*)>(.*?)</button>", shown) if marker in found[0]]
    return [_press(attributes, content) for attributes, content in buttons]


def _press(attributes: str, content: str) -> Press:
    touches, size = re.search(r'data-touches="([^"]*)"', attributes), re.search(r'<b data-value="(-?\d+)"', content)
    assert touches
    return Press(json.loads(unescape(touches[1])), int(size[1]) if size else None, "makes it fit" in content)


def applied(page: dict[str, Any], touches: dict[str, Any]) -> dict[str, Any]:
    """As the desk does it."""
    beside = {name: value for name, value in touches.items() if name in ("card", "expandable_segments")}
    settings = {name: value for name, value in touches.items() if name not in beside}
    return page | beside | {"touched": page["touched"] | settings}


def peak(page: dict[str, Any]) -> tuple[int, str]:
    """What the headline shows: bytes, and the verdict."""
    tiles = str(ANSWERS.memory(page)[0])
    found = re.search(r'id="peak-memory" data-value="(\d+)"', tiles)
    verdict = re.search(r'data-verdict="([^"]*)"', tiles)
    assert found
    assert verdict
    return int(found[1]), verdict[1]


@pytest.mark.parametrize("case", CASES)
def test_each_saving_is_what_the_headline_falls_by_once_it_is_pressed(case: str) -> None:
    before, _ = peak(sent(case))
    advice = [press for press in presses(answer(case)[0]) if press.saved is not None]
    assert len(advice) > 4
    for press in advice:
        after, verdict = peak(applied(sent(case), press.touches))
        assert before - after == press.saved, press
        assert not press.makes_fit or verdict in ("fits", "tight"), press


def test_what_does_not_fit_has_a_change_that_makes_it_fit() -> None:
    assert peak(sent("does not fit"))[1] == "does not fit"
    assert any(press.makes_fit for press in presses(answer("does not fit")[0]))


@pytest.mark.parametrize("case", ["fits", "does not fit"])
def test_the_largest_value_fits_and_one_step_more_does_not(case: str) -> None:
    largest = presses(answer(case)[0], 'data-keep="largest')
    assert largest
    for touches, *_ in largest:
        ((name, value),) = touches.items()
        step = 128 if name == "sequence_len" else 1
        assert peak(applied(sent(case), touches))[1] in ("fits", "tight")
        assert peak(applied(sent(case), {name: value + step}))[1] == "does not fit", touches


def test_a_card_that_is_offered_holds_the_run() -> None:
    offers = presses(answer("does not fit")[1])
    assert len(offers) == 8
    for touches, *_ in offers:
        assert peak(applied(sent("does not fit"), touches))[1] in ("fits", "tight")


def test_on_several_cards_each_needs_what_the_library_says() -> None:
    rows = re.findall(r'class="number" data-value="(\d+)"', answer("does not fit")[1])
    draft = Draft.from_page(sent("does not fit"))
    read = ANSWERS.read(draft)
    question = Question(read.recipe, read.base_model, (draft.held_against(),), draft.expandable_segments)
    fits = [fit_together(question, way).fit for way in WAYS]
    assert [int(size) for size in rows] == [fit.process_bytes for fit in fits if fit]


def test_answers_end_when_the_visitor_asks_about_another_draft() -> None:
    request: Any = type("Request", (), {"session_hash": "one"})()
    found = FIT.help(sent("fits"), None, request)
    next(found)
    ANSWERS.memory(sent("does not fit"), request)
    assert len(list(found)) <= 1


def test_the_same_answer_to_another_question_is_told_apart() -> None:
    """Or the page would not write it anew, and what stands there would stay marked as old."""
    for number in (1, 2):
        first = next(FIT.help(sent("fits"), {"asked": number}))
        assert all(f'data-answered="{number}"' in panel for panel in first)
        assert FIT.time(sent("fits"), {"asked": number})["answered"] == number


def test_bad_settings_leave_what_was_there() -> None:
    bad = start_draft().for_page() | {"touched": {"lora_r": 0}}
    assert list(FIT.help(bad)) == [(gr.skip(), gr.skip())]
    assert FIT.time(bad, {})["said"] is None


def test_several_changes_that_are_only_together_enough_are_one_press() -> None:
    shown = answer("together")[0]
    assert "No single change is enough; these together are" in shown
    (together,) = (press for press in presses(shown) if press.makes_fit)
    assert len(together.touches) > 1
    assert peak(applied(sent("together"), together.touches))[1] in ("fits", "tight")


def test_nothing_is_said_of_several_changes_before_they_have_been_looked_for() -> None:
    *before, last = (str(changes) for changes, _ in FIT.help(sent("together")))
    assert not any("No few changes" in shown for shown in (*before, last))


@pytest.mark.parametrize("case", ["fits", "does not fit"])
def test_explore_lists_the_same_changes_with_the_same_figures_in_the_same_order(case: str) -> None:
    *_, short = ANSWERS.savings(sent(case))
    single = [press for press in presses(answer(case)[0], 'data-advice="single"') if press.saved is not None]
    assert presses(str(short)) == single


def test_an_answer_brings_back_the_number_of_its_question() -> None:
    changes, cards = next(FIT.help(sent("fits"), {"asked": 7}))
    assert 'data-answered="7"' in changes
    assert 'data-answered="7"' in cards
    assert FIT.time(sent("fits"), {"asked": 7})["answered"] == 7


def test_a_step_too_large_to_trace_has_its_bound_and_the_sizes_from_which_on_it_is_known() -> None:
    page = replace(start_draft(), touched=SMALL | {"sequence_len": 4_000_000, "micro_batch_size": 4096}).for_page()
    *_, (shown, cards) = FIT.help(page)
    assert "lower bound" in shown
    assert "Not known" in cards
    assert "tokens at once" in FIT.time(page, {})["said"]


def test_where_memory_is_not_known_that_is_said() -> None:
    bad = start_draft().for_page() | {"touched": SMALL | {"optimizer": "lomo"}}
    *_, (changes, cards) = FIT.help(bad)
    assert "RTX 4090: not known." in changes
    assert "lomo" in FIT.time(bad, {})["said"]
    assert "lomo" in changes
    assert "Not known" in cards


def told(**form: str) -> str:
    return str(FIT.time(sent("fits"), form)["said"])


def hours(**form: str) -> str:
    found = re.search(r'id="fit-hours"[^>]*>([^<]*)<', told(**form))
    assert found
    return found[1]


def test_hours_and_dollars_come_with_the_rows_and_double_with_them() -> None:
    unnamed = sent("fits") | {"text": start_draft().text.replace("tatsu-lab/alpaca", "./my-rows.jsonl")}
    assert "say how many rows" in FIT.time(unnamed, {})["said"]
    assert "say how many rows" not in FIT.time(unnamed, {"rows": "52,000"})["said"]
    assert hours(rows="1e6") != hours(rows="2e6")
    assert "$" in told(rows="52000")
    assert "as typed" in told(rows="52000", price="2")
    assert "no price on file" in str(FIT.time(sent("plain segments, DoRA"), {"rows": "9"})["said"])


def test_the_size_of_data_on_file_is_proposed_and_holds_where_nothing_is_typed() -> None:
    shown = FIT.time(sent("fits"), {})
    assert shown["hints"] == {"rows": "52,002", "tokens": "130", "price": "0.34"}
    assert "tatsu-lab/alpaca has 52,002 rows of about 130 tokens" in shown["said"]
    assert hours() == hours(rows="52002", tokens="130")
    assert hours() != hours(tokens="260")


def test_what_is_kept_aside_from_too_few_rows_is_told_where_the_rows_are() -> None:
    page = sent("fits") | {"text": start_draft().text.replace("val_set_size: 0.05", "val_set_size: 500")}
    shown = FIT.time(page, {"rows": "500"})
    assert "val_set_size" in shown["problems"]["rows"]
    assert FIT.time(page, {"rows": "501"})["problems"] == {}


def test_operations_are_those_that_the_trace_counts() -> None:
    from lora_explorer.memory import find_card
    from lora_explorer.speed import estimate_speed

    question = ANSWERS.read(Draft.from_page(sent("fits")))
    card = find_card("RTX 4090")
    for length in (64, 130):
        speed = estimate_speed(question.recipe, question.base_model, card=card, document_tokens=length)
        assert f'id="fit-flops" data-value="{speed.flops_per_step}"' in told(tokens=str(length))


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("rows", "many"), ("rows", "0"), ("rows", "-5"), ("rows", "1.5"), ("rows", "nan"), ("rows", "1e99"),
        ("tokens", "<b>"), ("tokens", "0"), ("price", "free"), ("price", "0"), ("price", "-1"), ("price", "inf"),
        ("price", "1e9"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence_at_its_field_and_the_figures_stay(field: str, typed: str) -> None:
    shown = FIT.time(sent("fits"), {field: typed})
    assert list(shown["problems"]) == [field]
    assert shown["said"] is None
    assert shown[field] == typed


@pytest.mark.parametrize("form", [None, 7, [], {"rows": 7}, {"rows": None}, {"rows": "9" * 10_000}])
def test_a_form_that_no_page_sends_is_read_as_far_as_it_is_one(form: Any) -> None:
    assert set(FIT.time(sent("fits"), form)) >= {"rows", "tokens", "price", "said", "problems"}


def test_numbers_are_read_as_people_write_them() -> None:
    assert [typed_number(text, "rows", "Rows", 1e9) for text in ("52,000", "5e4", " 7 ", "1_000", "")] == [
        52_000, 50_000, 7, 1000, None
    ]  # fmt: skip


@pytest.mark.parametrize("typed", ["0,34", "1,5", "12,34,567", "1,2345"])
def test_a_comma_that_divides_no_thousands_is_no_guess(typed: str) -> None:
    with pytest.raises(ExplorerError, match="is not a number"):
        typed_number(typed, "price", "The price of an hour", 1e6, whole=False)
