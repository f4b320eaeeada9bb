"""The helper for new tokens: it answers about a file and about what was typed, and writes what is pressed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from lora_explorer.base_models import Access
from lora_explorer.report.new_tokens import QUESTION
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.new_tokens import NewTokenAnswers
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.yaml_answers import YamlAnswers

ANSWERS = Answers(Access(hub=False, folders=False))
TOKENS = NewTokenAnswers(ANSWERS)
YAML = YamlAnswers(ANSWERS, TOKENS, start_draft().text)
TEXT = """\
base_model: HuggingFaceTB/SmolLM2-135M
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_modules: [q_proj]
sequence_len: 256
learning_rate: 0.0002
datasets: [{path: a, type: alpaca}]
"""
WITH_TOKENS = TEXT + "tokens: ['<a>']\n"


def sent(text: str = TEXT, **touched: Any) -> dict[str, Any]:
    return replace(start_draft(), text=text, touched=touched).for_page()


def weighed(text: str, typed: Any = "") -> list[dict[str, Any]]:
    return list(TOKENS.weigh(sent(text), {"typed": typed}))


def test_without_new_tokens_there_is_a_question_and_no_more() -> None:
    (value,) = weighed(TEXT)
    assert (value["said"], value["title"], value["needed"]) == ("", QUESTION, False)


def test_a_file_s_tokens_are_answered_at_once_and_weighed_one_way_after_the_other() -> None:
    first, *rest = weighed(WITH_TOKENS)
    assert first["needed"] is True
    assert "…" in first["said"]
    assert len(rest) == first["said"].count("<tbody")
    assert "…" not in rest[-1]["said"]


@pytest.mark.parametrize(
    ("typed", "title"), [("<a>, <b>", "2 new tokens"), ("3", "3 new tokens"), (" 1 ", "1 new token")]
)
def test_what_is_typed_counts_as_new(typed: str, title: str) -> None:
    assert weighed(TEXT, typed)[0]["title"].startswith(f"{title}:")


def test_what_is_typed_and_in_the_file_counts_once() -> None:
    assert weighed(WITH_TOKENS, "<a>, <b>")[0]["title"].startswith("2 new tokens:")


@pytest.mark.parametrize("typed", ["-1", "3.5", "1e9", "99999999999999999999", "10001", "x," * 5 + "-"])
def test_what_cannot_be_counted_gets_a_sentence_or_is_a_name(typed: str) -> None:
    (value, *_) = weighed(TEXT, typed)
    assert 'class="sentence"' in value["said"]
    assert value["typed"] == typed


@pytest.mark.parametrize("field", [None, 7, [], {"typed": 7}, {"typed": ["<a>"]}, "typed"])
def test_a_field_that_is_none_is_empty(field: Any) -> None:
    (value,) = TOKENS.weigh(sent(), field)
    assert value["title"] == QUESTION


@pytest.mark.parametrize("draft", [sent(lora_r=0), sent() | {"unread": "- a"}, sent(base_model="nobody/unknown"), None])
def test_settings_that_cannot_be_used_leave_the_answer_as_it_was(draft: Any) -> None:
    assert list(TOKENS.weigh(draft, {"typed": "2"})) == [gr.skip()]


def test_a_press_writes_the_pair_and_the_tokens_that_have_a_name() -> None:
    pressed = {"way": "Train both in full, tied", "typed": "<b>"}
    editor, draft, *_ = YAML.mend(sent(WITH_TOKENS) | {"mend": pressed})
    recipe = Draft.from_page(draft).recipe
    assert recipe.lora_modules_to_save == ("embed_tokens", "lm_head")
    assert recipe.peft_ensure_weight_tying
    assert "  - <b>" in editor or "<b>" in editor
    assert "'<a>'" in editor or "<a>" in editor
    (first, *_) = weighed(editor)
    assert first["needed"] is False
    assert "in the file" in first["said"]


def test_a_press_on_another_way_takes_the_first_one_back() -> None:
    both, draft, *_ = YAML.mend(sent(WITH_TOKENS) | {"mend": {"way": "Train both in full", "typed": ""}})
    tied, *_ = YAML.mend(draft | {"mend": {"way": "Train both in full, tied", "typed": ""}})
    assert "peft_ensure_weight_tying" not in both
    assert "peft_ensure_weight_tying: true" in tied


def test_the_missing_pair_is_told_at_the_setting_with_a_fix_and_the_count_stands() -> None:
    tiles, notes = ANSWERS.count(sent(WITH_TOKENS))
    assert "trainable-params" in tiles
    assert "lora_modules_to_save: [embed_tokens, lm_head]" in notes
    assert "data-stale" not in notes
    assert "ends when the model is loaded" in YAML.read(sent(WITH_TOKENS))


FIRST_QUESTIONS_AT_ONCE = """
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from lora_explorer.base_models import Access
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.new_tokens import NewTokenAnswers
from lora_explorer.ui.page import start_draft
answers, draft = Answers(Access(hub=False, folders=False)), start_draft().for_page()
tokens = NewTokenAnswers(answers)
with ThreadPoolExecutor(3) as pool:
    asked = [pool.submit(answers.count, draft)]
    for seconds in (0.4, 0.8):
        sleep(seconds)
        asked.append(pool.submit(lambda: next(tokens.weigh(draft, {"typed": "2"}))))
    for each in asked:
        each.result()
"""


def test_a_first_question_about_tokens_waits_while_another_one_loads_the_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_QUESTIONS_AT_ONCE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
