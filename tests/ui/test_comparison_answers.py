"""The comparison as the server gives it: what is known at once, the rest one by one, and whatever a page may send."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_explorer.base_models import Access
from lora_explorer.exploration.comparison import Figures
from lora_explorer.preview.run_folder import HOME_VARIABLE, create_run
from lora_explorer.preview.supervision.ownership import hashed
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.comparison_answers import ComparisonAnswers, KnownFigures
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.pins import pins_from_page
from lora_explorer.ui.tracer import InProcess
from tests.preview.runs import request, step

TEXT = (
    "base_model: HuggingFaceTB/SmolLM2-135M\nadapter: lora\nlora_r: 8\nlora_alpha: 16\n"
    "lora_target_linear: true\nsequence_len: 256\n"
)
OWNER = "0123456789abcdef" * 2
NOW = Draft(TEXT)


class Counting(InProcess):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        self.asked += 1
        return super().ask(question, *asked, **options)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))


@pytest.fixture
def answers() -> ComparisonAnswers:
    return ComparisonAnswers(Answers(Access(hub=False, folders=False)))


def pinned(*touched: dict[str, Any], asked: int = 1, names: bool = True) -> dict[str, Any]:
    pins = [
        {"name": f"pin {number}" if names else "", "draft": Draft(TEXT, each).for_page()}
        for number, each in enumerate(touched, start=1)
    ]
    return {"pins": pins, "asked": asked, "version": 7}


def visitor(name: str) -> Any:
    return SimpleNamespace(session_hash=name)


def values(html: str, figure: str) -> list[str]:
    """Of a row, what is on screen first; empty where there is none."""
    found = re.search(rf'<tr data-figure="{figure}">(.*?)</tr>', html)
    assert found
    return [(re.search(r'data-value="([^"]*)"', cell) or [""] * 2)[1] for cell in found[1].split("<td")[1:]]


def given(answers: ComparisonAnswers, sent: dict[str, Any], now: Draft = NOW, wish: Any = None) -> list[str]:
    """Everything that is answered in turn; the first at once."""
    first = answers.table(sent, now.for_page(), wish)
    return [first, *answers.figures(sent, now.for_page(), wish)]


def test_what_is_on_screen_is_counted_at_once_and_the_rest_comes_one_by_one(answers: ComparisonAnswers) -> None:
    first, *rest = given(answers, pinned({"lora_r": 16}, {"lora_r": 32}))
    assert [bool(value) for value in values(first, "trainable-params")] == [True, False, False]
    assert all(values(rest[0], "trainable-params"))
    known = [sum(map(bool, values(html, "peak-memory"))) for html in (first, *rest)]
    assert known == [0, 0, 1, 2, 3]
    counts = [int(value) for value in values(rest[-1], "trainable-params")]
    assert counts == [counts[0], 2 * counts[0], 4 * counts[0]]


def test_what_has_been_answered_is_known_at_once(answers: ComparisonAnswers) -> None:
    last = given(answers, pinned({"lora_r": 16}))[-1]
    again = given(answers, pinned({"lora_r": 16}, asked=2))
    assert set(again) == {last}


def test_what_is_pinned_is_remembered_with_its_figures(answers: ComparisonAnswers) -> None:
    answers.remember(Draft(TEXT, {"lora_r": 16}).for_page())
    answers.remember(Draft("a: [").for_page())
    html = answers.table(pinned({"lora_r": 16}), NOW.for_page(), None)
    assert [bool(value) for value in values(html, "peak-memory")] == [False, True]


def test_what_is_on_screen_is_asked_where_the_headline_asks_and_the_pins_in_the_background() -> None:
    live, background = Counting(), Counting()
    answers = ComparisonAnswers(Answers(Access(hub=False, folders=False), live, background))
    given(answers, pinned({"lora_r": 16}, {"lora_r": 32}))
    assert (live.asked, background.asked) == (1, 2)


def test_figures_are_those_of_the_headline(answers: ComparisonAnswers) -> None:
    html = given(answers, pinned({"lora_r": 16}))[-1]
    sent = Draft(TEXT, {"lora_r": 16}).for_page()
    tiles, _ = answers.answers.count(sent)
    memory, *_ = answers.answers.memory(sent)
    assert f'id="trainable-params" data-value="{values(html, "trainable-params")[1]}"' in tiles
    assert f'id="adapter-file" data-value="{values(html, "adapter-file")[1]}"' in tiles
    assert f'id="peak-memory" data-value="{values(html, "peak-memory")[1]}"' in memory


def test_all_are_held_against_the_card_on_screen(answers: ComparisonAnswers) -> None:
    sent = pinned({})
    sent["pins"][0]["draft"]["card"] = "T4"
    html = given(answers, sent, replace(NOW, card="H100 80GB SXM"))[-1]
    assert "H100 80GB SXM" in html
    assert "T4" not in html
    assert len(set(values(html, "peak-memory"))) == 1


def test_a_configuration_that_cannot_be_counted_has_its_sentence_and_the_others_go_on(
    answers: ComparisonAnswers,
) -> None:
    sent = pinned({"lora_r": 0}, {"optimizer": "lomo"}, {"lora_r": 16})
    sent["pins"].append({"name": "", "draft": Draft("a: [").for_page()})
    html = given(answers, sent)[-1]
    assert [bool(value) for value in values(html, "trainable-params")] == [True, False, True, True, False]
    assert [bool(value) for value in values(html, "peak-memory")] == [True, False, False, True, False]
    assert html.count('class="problem"') == 3
    assert "lora_r must be at least 1" in html
    assert "Unreadable 1" in html
    assert "…" not in re.sub(r"<svg.*?</svg>", "", html)


def test_a_later_question_ends_the_answers_to_an_earlier_one(answers: ComparisonAnswers) -> None:
    sent = pinned({"lora_r": 16}, {"lora_r": 32})
    answers.table(sent, NOW.for_page(), None, visitor("a"))
    streaming = answers.figures(sent, NOW.for_page(), None, visitor("a"))
    next(streaming)
    next(streaming)
    answers.table(sent | {"asked": 2}, NOW.for_page(), None, visitor("a"))
    assert list(streaming) == []


def test_another_visitor_ends_nothing(answers: ComparisonAnswers) -> None:
    sent = pinned({"lora_r": 16})
    answers.table(sent, NOW.for_page(), None, visitor("a"))
    answers.table(sent | {"asked": 5}, NOW.for_page(), None, visitor("b"))
    assert len(list(answers.figures(sent, NOW.for_page(), None, visitor("a")))) == 3


def test_names_are_proposed_for_those_that_have_none(answers: ComparisonAnswers) -> None:
    sent = pinned({}, {"lora_r": 16, "peft_use_dora": True}, {}, names=False)
    sent["pins"][0]["name"] = "mine"
    named = answers.names(sent)
    assert named["names"] == ["mine", "r 16, DoRA", "r 8"]
    assert named["version"] == 7


def test_no_pins_are_said_to_be_none_and_nothing_is_counted(answers: ComparisonAnswers) -> None:
    first, *rest = given(answers, {"pins": [], "asked": 1})
    assert "Nothing is pinned yet" in first
    assert all("Nothing is pinned yet" in html for html in rest)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        3,
        "text",
        [],
        {"pins": "text"},
        {"pins": [None, 3, "x", [], {}]},
        {"pins": [{"name": 5, "draft": {}}]},
        {"pins": [{"draft": {}}]},
        {"pins": {"0": {"name": "x"}}},
        {"asked": {"a": [1]}},
    ],
)
def test_what_is_no_list_of_pins_is_none(answers: ComparisonAnswers, sent: Any) -> None:
    assert pins_from_page(sent) == ()
    assert "Nothing is pinned yet" in answers.table(sent, NOW.for_page(), None)
    assert answers.names(sent)["names"] == []


@pytest.mark.parametrize("draft", [None, 3, [], {}, {"text": 4}, {"text": TEXT, "touched": [1]}, {"card": "no card"}])
def test_a_pin_without_a_draft_is_told_like_any_other_that_cannot_be_used(
    answers: ComparisonAnswers, draft: Any
) -> None:
    sent = {"pins": [{"name": "x", "draft": draft}], "asked": 1}
    assert "panel-compare" in given(answers, sent)[-1]


def test_no_more_than_eight_are_compared_and_names_are_cut(answers: ComparisonAnswers) -> None:
    sent = pinned(*({"lora_r": 2 ** (number % 3)} for number in range(30)))
    sent["pins"][0]["name"] = "n" * 500
    assert len(pins_from_page(sent)) == 8
    assert len(pins_from_page(sent)[0].name) == 80
    assert answers.table(sent, NOW.for_page(), None).count("<th ") >= 9


def test_a_card_that_nobody_knows_leaves_the_verdicts_out(answers: ComparisonAnswers) -> None:
    html = answers.table(pinned({}), replace(NOW, card="Abacus").for_page(), None)
    assert 'data-figure="fits"' not in html


def test_folders_of_this_machine_stay_closed_to_strangers(answers: ComparisonAnswers) -> None:
    html = given(answers, pinned({"base_model": "/etc"}))[-1]
    assert "Folders cannot be read on a public page" in html


@pytest.mark.parametrize(
    ("public", "owner", "drawn"), [(False, "", True), (True, OWNER, True), (True, "f" * 32, False)]
)
def test_a_stranger_s_run_is_drawn_for_its_own_browser_only(*, public: bool, owner: str, drawn: bool) -> None:
    answers = ComparisonAnswers(Answers(Access(hub=False, folders=False)), public=public)
    folder = create_run(replace(request(), recipe=NOW.recipe), owner=hashed(OWNER))
    folder.append(step(1, 2.5))
    html = answers.table(pinned({}), NOW.for_page(), {"owner": owner})
    assert ("compare-losses" in html) is drawn


def test_only_so_many_figures_are_remembered() -> None:
    known = KnownFigures(most=2)
    drafts = [Draft(TEXT, {"lora_r": rank}) for rank in (1, 2, 3)]
    for draft in drafts:
        known.keep(draft, Figures(trainable_params=1))
    assert [known.of(draft).trainable_params for draft in drafts] == [None, 1, 1]
