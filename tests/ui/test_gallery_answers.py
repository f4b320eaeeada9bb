"""The gallery as the server gives it: all cards at once, figures one by one, each asked for once, and bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from lora_explorer.base_models import Access
from lora_explorer.errors import MemoryUnknown
from lora_explorer.recipe_files import RecipeFile, recipe_files
from lora_explorer.ui import gallery_answers
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.gallery_answers import GalleryAnswers
from lora_explorer.ui.own_presets import FORMAT, MOST_PRESETS
from lora_explorer.ui.tracer import InProcess

TEXT = (
    "base_model: HuggingFaceTB/SmolLM2-135M\nadapter: lora\nlora_r: 8\nlora_alpha: 16\n"
    "lora_target_linear: true\nsequence_len: 256\n"
)
TRAINED = 2_442_240


class Counting(InProcess):
    """Counts what it is asked, and is interrupted as often as it is told to be."""

    def __init__(self, interrupted: int = 0) -> None:
        self.asked, self.interrupted = 0, interrupted

    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        self.asked += 1
        if self.asked <= self.interrupted:
            raise MemoryUnknown("It was interrupted.")
        return super().ask(question, *asked, **options)


class Refusing(InProcess):
    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        raise AssertionError("The gallery asks in the background alone.")


def answers_of(background: Counting) -> GalleryAnswers:
    return GalleryAnswers(Answers(Access(hub=False, folders=False), Refusing(), background))


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> tuple[RecipeFile, ...]:
    files = (
        RecipeFile("one", "One", "For one.", TEXT),
        RecipeFile("two", "Two", "For two.", TEXT + "lora_dropout: 0.1\n"),
    )
    monkeypatch.setattr(gallery_answers, "recipe_files", lambda: files)
    return files


def own(*drafts: Draft) -> dict[str, Any]:
    return {"own": [{"id": f"own-{number}", "draft": draft.for_page()} for number, draft in enumerate(drafts)]}


def counts(figures: dict[str, str]) -> dict[str, int]:
    found = {key: re.search(r'"trainable-params" data-value="(\d+)"', html) for key, html in figures.items()}
    return {key: int(match[1]) for key, match in found.items() if match}


@pytest.mark.usefixtures("small_files")
def test_all_cards_come_at_once_and_their_figures_one_by_one() -> None:
    steps = list(answers_of(Counting()).offer())
    assert [sorted(step["figures"]) for step in steps] == [[], ["one"], ["one", "two"]]
    assert len({step["page"] for step in steps}) == 1
    assert "For two." in steps[0]["page"]
    assert counts(steps[-1]["figures"]) == {"one": TRAINED, "two": TRAINED}


@pytest.mark.usefixtures("small_files")
def test_what_one_visitor_has_asked_for_the_next_one_has_at_once() -> None:
    background = Counting()
    answers = answers_of(background)
    last = list(answers.offer())[-1]
    again = list(answers.offer())
    assert again == [last]
    assert background.asked == 2


@pytest.mark.usefixtures("small_files")
def test_a_figure_that_was_interrupted_is_asked_for_again() -> None:
    answers = answers_of(Counting(interrupted=1))
    assert "It was interrupted." in list(answers.offer())[-1]["figures"]["one"]
    assert counts(list(answers.offer())[-1]["figures"]) == {"one": TRAINED, "two": TRAINED}


def test_the_gallery_offers_every_recipe_that_comes_along() -> None:
    first = next(answers_of(Counting()).offer())
    assert re.findall('data-preset="(.*?)"', first["page"]) == [file.name for file in recipe_files()]


def test_ones_own_presets_have_their_model_their_yaml_and_their_figures() -> None:
    sent = own(Draft(TEXT), Draft(TEXT, {"lora_r": 16}), Draft("# <b>\nlora_r: 8\n"), Draft("a: ["))
    steps = list(answers_of(Counting()).weigh(sent))
    described, figures = steps[0]["described"], steps[-1]["figures"]
    assert described["own-0"] == {"model": "SmolLM2 135M", "yaml": TEXT}
    assert "lora_r: 16\n" in described["own-1"]["yaml"]
    assert described["own-2"]["model"] == "no base model"
    assert described["own-3"]["yaml"] == "a: ["
    assert counts(figures) == {"own-0": TRAINED, "own-1": 2 * TRAINED}
    assert all('class="problem"' in figures[key] for key in ("own-2", "own-3"))


def test_ones_own_preset_is_known_where_a_recipe_is_the_same(small_files: tuple[RecipeFile, ...]) -> None:
    background = Counting()
    answers = answers_of(background)
    list(answers.offer())
    (only,) = answers.weigh(own(Draft(small_files[0].text)))
    assert counts(only["figures"]) == {"own-0": TRAINED}
    assert background.asked == 2


@pytest.mark.parametrize(
    "sent",
    [
        None,
        7,
        [],
        {},
        {"own": None},
        {"own": {"id": "x"}},
        {"own": ["x", None, 3]},
        {"own": [{"id": 5, "draft": {}}]},
        {"own": [{"id": "x" * 41, "draft": {"text": TEXT}}]},
    ],
)
def test_what_is_no_preset_is_left_out(sent: Any) -> None:
    assert list(answers_of(Counting()).weigh(sent)) == [{"described": {}, "figures": {}}]


@pytest.mark.parametrize(
    "draft", [None, [], {"text": 5}, {"text": TEXT, "touched": {"lora_r": {"a": []}}}, {"text": TEXT, "touched": [1]}]
)
def test_a_draft_that_is_none_has_a_sentence_or_its_usual_figures(draft: Any) -> None:
    steps = list(answers_of(Counting()).weigh({"own": [{"id": "x", "draft": draft}]}))
    assert set(steps[-1]["figures"]) == {"x"}


def test_no_more_than_may_be_kept_are_weighed() -> None:
    drafts = [Draft(TEXT, {"lora_r": 8}) for _ in range(MOST_PRESETS + 5)]
    assert len(list(answers_of(Counting()).weigh(own(*drafts)))[-1]["figures"]) == MOST_PRESETS


def test_a_stranger_names_no_folder_of_this_machine() -> None:
    steps = list(answers_of(Counting()).weigh(own(Draft("base_model: /etc\nadapter: lora\nlora_r: 8\n"))))
    assert 'class="problem"' in steps[-1]["figures"]["own-0"]


def test_a_file_is_answered_with_its_presets_or_with_what_is_wrong() -> None:
    answers = answers_of(Counting())
    file = {"format": FORMAT, "version": 1, "presets": [{"name": "mine", "draft": Draft(TEXT).for_page()}]}
    taken = answers.take({"asked": 3, "file": json.dumps(file)})
    assert taken == {"taken": [{"name": "mine", "draft": Draft(TEXT).for_page()}], "fault": "", "answered": 3}
    refused = answers.take({"asked": 4, "file": "{}"})
    assert (refused["taken"], refused["answered"]) == ([], 4)
    assert "holds no presets" in refused["fault"]
    assert answers.take(None)["fault"]
