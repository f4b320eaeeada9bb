"""Sweeps as the page asks for them: figures as they come, faults at the field, and an end when nobody waits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest

from lora_explorer.base_models import Access
from lora_explorer.exploration.ready_sweeps import READY
from lora_explorer.memory import find_card
from lora_explorer.ui import sweep_answers
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft, shown_by
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.sweep_answers import MOST_PUBLIC_POINTS, SweepAnswers
from lora_explorer.ui.sweep_form import MOST_CARDS, SweepWish, sweep_form
from lora_explorer.ui.tracer import InProcess

SMALL = {"base_model": "HuggingFaceTB/SmolLM2-135M", "sequence_len": 512}
VISITOR: Any = SimpleNamespace(session_hash="visitor")


def sweeps(*, public: bool = False) -> SweepAnswers:
    return SweepAnswers(Answers(Access(hub=False, folders=False)), public=public)


def sent(**touched: Any) -> dict[str, Any]:
    return replace(start_draft(), touched=SMALL | touched).for_page()


def asked(*axes: tuple[str, str], number: int = 1, **more: Any) -> dict[str, Any]:
    return {"asked": number, "axes": [list(axis) for axis in axes], "cards": ["A100 80GB SXM"], **more}


def told(wish: dict[str, Any], draft: dict[str, Any] | None = None, *, public: bool = False) -> list[dict[str, Any]]:
    return list(sweeps(public=public).run(draft or sent(), wish, VISITOR))


def test_a_sweep_starts_with_its_frame_and_ends_with_every_point_the_table_and_the_cards() -> None:
    first, *others, last = told(asked(("lora_r", "4,8"), ("micro_batch_size", "1,2")))
    assert (first["state"], others[0]["state"], last["state"]) == ("planning", "running", "done")
    assert others[0]["frame"] == last["frame"]
    assert sorted(last["told"]) == ["0,0", "0,1", "1,0", "1,1"]
    assert set(last["parts"]) == {*last["told"], "ends", "scale", "table", "card-ends"}
    assert last["said"] == "4 points"
    assert {each["asked"] for each in (first, *others, last)} == {1}


def test_what_is_told_of_a_point_is_what_the_page_shows_once_it_is_pressed() -> None:
    answers = sweeps()
    *_, last = answers.run(sent(), asked(("lora_r", "4,8"), ("targets", "attention,mlp")), VISITOR)
    for at, (_, figures, _) in last["told"].items():
        touched = {
            name: shown
            for axis, index in enumerate(map(int, at.split(",")))
            for name, shown in last["touches"][axis][index].items()
        }
        tiles, _ = answers.answers.count(sent(**touched), VISITOR)
        (memory, *_) = answers.answers.memory(sent(**touched), VISITOR)
        count = re.search(r'id="trainable-params" data-value="(\d+)"', tiles)
        peak = re.search(r'id="peak-memory" data-value="(\d+)"', memory)
        assert count
        assert peak
        assert f"{int(count[1]):,} trainable parameters" in figures
        assert figures.startswith(f"{int(peak[1]) / 1024**3:,.2f} GiB")


def test_what_a_press_does_is_what_the_widgets_show_then() -> None:
    *_, last = told(asked(("bits", ""), ("gradient_checkpointing", "true,false")))
    recipe = Draft.from_page(sent()).recipe
    for choice, changes in zip(last["touches"][0], (4, 8, 16), strict=True):
        assert choice["load_in_4bit"] is (changes == 4)
        shown = shown_by(recipe.changed(load_in_4bit=changes == 4, adapter="qlora" if changes == 4 else "lora"))
        assert choice["adapter"] == shown["adapter"]
    assert last["touches"][1][0] == {"gradient_checkpointing": "true"}
    assert set(last["opened"]) == set(shown_by(recipe))


def test_an_empty_range_of_choices_comes_back_with_all_of_them() -> None:
    *_, last = told(asked(("bits", " "), ("lora_r", "8")))
    assert last["axes"] == [("bits", "4,8,16"), ("lora_r", "8")]


@pytest.mark.parametrize("ready", [each.name for each in READY if each.name != "bits-model"])
def test_a_ready_sweep_says_what_it_stands_for(ready: str) -> None:
    run = sweeps().run(sent(), asked(("seed", "1"), ready=ready), VISITOR)
    next(run)
    running = next(run)
    assert [name for name, _ in running["axes"]] == list(next(each for each in READY if each.name == ready).axes)
    assert all(typed for _, typed in running["axes"])


@pytest.mark.parametrize(
    ("axes", "at", "word"),
    [
        ([("lora_r", "")], "0", "needs a range"),
        ([("lora_r", "9..1")], "0", "empty"),
        ([("lora_r", "1..9 x1")], "0", "does not go up"),
        ([("lora_r", "0,4")], "0", "lora_r"),
        ([("lora_r", "a,b")], "0", "lora_r"),
        ([("lora_r", "1..100000")], "0", "more than 1,000 values"),
        ([("lora_r", "8"), ("micro_batch_size", "1..")], "1", "micro_batch_size"),
        ([("lora_r", "8"), ("lora_r", "16")], "1", "Both axes set lora_r"),
        ([("bits", "4"), ("load_in_4bit", "")], "1", "Both axes"),
        ([("lora_r", "1..50"), ("sequence_len", "128..8192 +128")], "1", "at most 1,000"),
        ([("bits", "5")], "0", "none of 4, 8, 16"),
        ([("targets", "nowhere")], "0", "nowhere"),
        ([("no_such", "1,2")], "0", "not a setting"),
        ([("lora_r", "9" * 5000)], "0", "longer"),
        ([("base_model", "/etc/passwd,../x")], "0", "Folders"),
        ([], "", "Choose a setting"),
        ([("", "4")], "", "Choose a setting"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_sentence_at_its_field(
    axes: list[tuple[str, str]], at: str, word: str
) -> None:
    *_, last = told(asked(*axes))
    assert last["state"] == "refused"
    ((place, sentence),) = last["faults"].items()
    assert word in sentence
    assert sentence.endswith(".")
    assert place == at
    assert "frame" not in last


def test_settings_that_cannot_be_used_are_told_beside_the_button() -> None:
    *_, last = told(asked(("lora_dropout", "0,0.1")), sent(lora_r=0))
    assert last["state"] == "refused"
    assert "lora_r" in last["faults"][""]


def test_a_public_page_takes_fewer_points() -> None:
    wish = asked(("lora_r", f"1..{MOST_PUBLIC_POINTS + 1}"))
    *_, last = told(wish, public=True)
    assert f"at most {MOST_PUBLIC_POINTS}" in last["faults"]["0"]
    assert next(iter(sweeps().run(sent(), wish, VISITOR)))["state"] == "planning"


def test_a_public_page_does_not_sweep_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_answers, "_MOST_PUBLIC_SECONDS", -1.0)
    *_, last = told(asked(("lora_r", "1..9")), public=True)
    assert (last["state"], last["said"]) == ("stopped", "Stopped after 1 of 9 points")
    assert last["parts"]["table"].count("<tr") == 2


class Counting(InProcess):
    """Predicts here, and calls `then` before each answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.then: Callable[[], None] = lambda: None

    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        self.asked += 1
        if self.asked == 4:
            self.then()
        return question(*asked, **options)


@pytest.fixture
def counted() -> tuple[SweepAnswers, Counting]:
    memory = Counting()
    return SweepAnswers(Answers(Access(hub=False, folders=False), memory_of_changes=memory)), memory


def test_a_sweep_that_is_stopped_keeps_what_there_is(counted: tuple[SweepAnswers, Counting]) -> None:
    answers, memory = counted
    memory.then = lambda: answers.stop({"stopped": 1}, VISITOR)
    *_, last = answers.run(sent(), asked(("lora_r", "1..50")), VISITOR)
    assert (last["state"], last["said"]) == ("stopped", "Stopped after 3 of 50 points")
    assert len(last["told"]) == 3


def test_a_sweep_ends_when_another_one_is_asked_for(counted: tuple[SweepAnswers, Counting]) -> None:
    answers, memory = counted
    memory.then = lambda: next(answers.run(sent(), asked(number=2), VISITOR))
    *_, last = answers.run(sent(), asked(("lora_r", "1..50")), VISITOR)
    assert last["state"] == "running"
    assert memory.asked == 4


def test_a_sweep_of_which_no_more_is_read_asks_for_no_more(counted: tuple[SweepAnswers, Counting]) -> None:
    answers, memory = counted
    points = answers.run(sent(), asked(("lora_r", "1..50")), VISITOR)
    for _ in range(3):
        next(points)
    points.close()
    assert memory.asked < 50


def test_a_late_stop_of_an_earlier_sweep_does_not_stop_this_one(counted: tuple[SweepAnswers, Counting]) -> None:
    answers, memory = counted
    memory.then = lambda: answers.stop({"stopped": 1}, VISITOR)
    *_, last = answers.run(sent(), asked(("lora_r", "1..5"), number=2), VISITOR)
    assert last["state"] == "done"


def test_the_form_comes_with_a_range_around_what_is_set() -> None:
    opened = sweeps().open(sent(lora_r=24))
    assert opened["proposed"] == [0, "lora_r", "4..256 x2,24"]
    assert 'value="lora_r" selected' in opened["form"]
    assert opened["form"].count(" selected") == 1


def test_the_range_that_is_proposed_is_for_the_setting_that_was_chosen() -> None:
    kept = sweeps().propose(sent(lora_r=24), asked(("lora_r", "8"), ("sequence_len", ""), about=0))
    assert kept["proposed"] == [0, "lora_r", "4..256 x2,24"]
    assert sweeps().propose(sent(), asked(("lora_r", "8"), ("bits", ""), about=1))["proposed"] == [1, "bits", "4,8,16"]
    assert sweeps().propose(sent(lora_r=0), asked(("lora_r", "8"), about=0))["proposed"] == [0, "lora_r", "4..256 x2"]


def test_the_form_offers_every_ready_sweep_and_card_and_names_its_fields() -> None:
    form = unescape(sweep_form())
    for ready in READY:
        assert ready.question in form
    assert 'value="targets"' in form
    assert 'value="RTX 5090"' in form
    assert form.count("<label>") == 4 + form.count('type="checkbox"')


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "text",
        {"axes": "lora_r"},
        {"axes": [1, None, ["lora_r"]]},
        {"axes": [["lora_r", 5], [None, "1"], ["x", "y"]]},
        {"cards": {"a": 1}, "asked": "1", "ready": 7},
        {"cards": ["x" * 1000, 3, None], "about": -1, "stopped": True},
        {"about": 99, "asked": 1.5},
    ],
)
def test_what_no_page_sends_is_left_out(value: Any) -> None:
    wish = SweepWish.from_page(value)
    assert len(wish.axes) <= 2
    assert all(isinstance(part, str) for axis in wish.axes for part in axis)
    assert (wish.asked, wish.stopped, wish.about, wish.cards, wish.ready) == (0, 0, 0, (), "")
    assert list(sweeps().run(sent(), value, VISITOR))[-1]["state"] == "refused"


def test_cards_are_the_chosen_one_first_and_known_ones_once() -> None:
    chosen = find_card("RTX 4090")
    wish = SweepWish(cards=("no such card", "RTX 4090", *(f"RTX {number}" for number in (3090, 5090, 4080)), "T4"))
    assert [card.name for card in wish.held_against(chosen)] == ["RTX 4090", "RTX 3090", "RTX 5090", "RTX 4080", "T4"]
    assert len(SweepWish(cards=tuple(f"RTX {n}" for n in range(99))).held_against(chosen)) <= MOST_CARDS
