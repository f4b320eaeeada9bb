"""What does this setting change? Help at once, then figures of its neighbours, then their memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import gradio as gr
import pytest

from lora_explorer.base_models import Access
from lora_explorer.errors import MemoryUnknown
from lora_explorer.report.effects import NO_NEIGHBOURS, QUESTION
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.setting_about import SettingAnswers
from lora_explorer.ui.tracer import InProcess

CONFIG = (
    '{"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 128, "num_hidden_layers": 2, '
    '"num_attention_heads": 4}'
)
TEXT = "base_model: llama\nadapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true\nlearning_rate: 0.0002\n"
DRAFT = Draft(TEXT, config=CONFIG, config_for="llama")
ANSWERS = SettingAnswers(Answers(Access(folders=False)))


def said_of(key: Any, draft: Draft = DRAFT, answers: SettingAnswers = ANSWERS) -> list[str]:
    asked = {"setting": key, "asked": 3}
    steps = list(answers.explain(draft.for_page(), asked))
    assert {(step["setting"], step["answered"]) for step in steps} <= {(key, 3)}
    return [step["said"] for step in steps]


def test_counts_come_first_and_memory_value_by_value() -> None:
    first, *rest = said_of("lora_r")
    assert QUESTION in first
    assert SETTINGS["lora_r"].help in first
    assert [step.count("…") for step in (first, *rest)] == [3, 2, 1, 0]
    assert [step.count(" GiB") for step in rest[-1:]] == [1]


def test_pressing_a_neighbour_holds_the_recipe_that_was_predicted() -> None:
    (*_, last) = said_of("load_in_4bit")
    (pressed,) = re.findall(r'data-touches="([^"]*)"', last)
    draft = Draft(TEXT, json.loads(unescape(pressed)), config=CONFIG, config_for="llama")
    assert (draft.recipe.load_in_4bit, draft.recipe.adapter) == (True, "qlora")


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: str(setting.name))
def test_every_setting_is_explained_by_its_key(setting: Any) -> None:
    asked = {"setting": setting.key, "asked": 1}
    first = next(iter(ANSWERS.explain(DRAFT.for_page(), asked)))
    assert "Source: " in first["said"]
    assert QUESTION in first["said"]


def test_a_setting_without_neighbours_is_explained_and_says_so() -> None:
    (only,) = said_of("seed")
    assert NO_NEIGHBOURS in only


@pytest.mark.parametrize("key", ["", None, "nothing", ["lora_r"], {"a": 1}, 3])
def test_what_is_no_setting_is_not_answered(key: Any) -> None:
    assert list(ANSWERS.explain(DRAFT.for_page(), {"setting": key, "asked": 1})) == []
    assert list(ANSWERS.explain(None, key)) == []


def test_settings_at_fault_are_told_beneath_the_help() -> None:
    faulty = Draft(TEXT.replace("lora_r: 8", "lora_r: 0"), config=CONFIG, config_for="llama")
    (only,) = said_of("lora_alpha", faulty)
    assert SETTINGS["lora_alpha"].help in only
    assert "lora_r" in only
    assert 'data-kind="error"' in only


class _Unknown(InProcess):
    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        raise MemoryUnknown("The figure was interrupted.")


def test_a_lost_worker_leaves_the_counts_and_says_why_there_is_no_memory() -> None:
    answers = SettingAnswers(Answers(Access(folders=False), memory_of=_Unknown()))
    last = said_of("lora_r", answers=answers)[-1]
    assert "The figure was interrupted." in last
    assert "…" not in last
    assert "GiB" not in last


def test_an_answer_ends_when_the_visitor_asks_about_another_setting() -> None:
    request = gr.Request(session_hash="somebody")
    steps = ANSWERS.explain(DRAFT.for_page(), {"setting": "lora_r", "asked": 1}, request)
    next(steps)
    next(ANSWERS.explain(DRAFT.for_page(), {"setting": "lora_alpha", "asked": 2}, request))
    assert list(steps) == []
