"""Answers to what the page sends: something new, or what was there before."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from lora_explorer.base_models import Access
from lora_explorer.settings import SETTINGS
from lora_explorer.ui import opening
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.following import show_pressed
from lora_explorer.ui.new_tokens import NewTokenAnswers
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.yaml_answers import YamlAnswers

ANSWERS = Answers(Access(hub=False, folders=False))
YAML = YamlAnswers(ANSWERS, NewTokenAnswers(ANSWERS), start_draft().text)
SKIPPED = gr.skip()
SMALL = {"base_model": "HuggingFaceTB/SmolLM2-135M", "sequence_len": 512}
TOO_MUCH = {"sequence_len": 4_000_000, "micro_batch_size": 4096}


def sent(**touched: Any) -> dict[str, Any]:
    return replace(start_draft(), touched=touched).for_page()


def trainable_params(tiles: str) -> int:
    found = re.search(r'id="trainable-params" data-value="(\d+)"', tiles)
    assert found
    return int(found[1])


def sentences(side_notes: str) -> dict[str, list[str]]:
    found = re.search(r'data-sentences="([^"]*)"', side_notes)
    assert found
    return dict(json.loads(found[1].replace("&quot;", '"').replace("&#x27;", "'")))


def test_the_start_recipe_trains_what_the_widely_copied_recipe_trains() -> None:
    tiles, _ = ANSWERS.count(sent())
    assert trainable_params(tiles) == 83_886_080


def test_twice_the_rank_trains_twice_the_parameters() -> None:
    once, _ = ANSWERS.count(sent(lora_r=24))
    twice, _ = ANSWERS.count(sent(lora_r=48))
    assert trainable_params(twice) == 2 * trainable_params(once)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("lora_r", 0),
        ("lora_r", -4),
        ("lora_r", 1.5),
        ("lora_r", None),
        ("lora_r", 10**9),
        ("lora_dropout", 1.0),
        ("lora_dropout", 7),
        ("lora_alpha", "text"),
        ("base_model", "nobody/unknown"),
        ("base_model", "/etc"),
        ("peft_layers_to_transform", ["99"]),
        ("lora_target_modules", ["regex: .*(q_proj"]),
    ],
)
def test_a_bad_value_keeps_every_number_and_is_told_at_its_setting_alone(key: str, shown: Any) -> None:
    touched = {key: shown}
    if key == "lora_target_modules":
        touched["lora_target_linear"] = False
    tiles, side_notes = ANSWERS.count(sent(**touched))
    assert tiles == SKIPPED
    assert list(sentences(side_notes)) == [key]
    assert ANSWERS.memory(sent(**touched))[:3] == (SKIPPED,) * 3
    assert list(ANSWERS.savings(sent(**touched))) == [SKIPPED]
    assert ANSWERS.details(sent(**touched))[-3:] == (SKIPPED, SKIPPED, SKIPPED)


def test_after_a_bad_value_every_figure_is_of_the_last_draft_that_was_counted() -> None:
    visitor: Any = SimpleNamespace(session_hash="a")
    counted, bad = sent(**SMALL), sent(**SMALL | {"lora_r": 1e99})
    tiles, *_ = ANSWERS.memory(counted, visitor)
    ANSWERS.memory(sent(), visitor)
    ANSWERS.count(counted, visitor)
    assert ANSWERS.count(bad, visitor)[0] == SKIPPED
    assert ANSWERS.memory(bad, visitor)[0] == tiles
    assert ANSWERS.cards(bad, visitor) == ANSWERS.cards(counted)
    assert ANSWERS.details(bad, visitor)[-2] == ANSWERS.details(counted)[-2]
    assert "T4" in ANSWERS.memory(bad | {"card": "T4"}, visitor)[0]
    other: Any = SimpleNamespace(session_hash="b")
    assert ANSWERS.memory(bad, other)[:3] == (SKIPPED,) * 3


@pytest.mark.parametrize("lora_r", [8, 0])
def test_an_answer_about_memory_brings_back_the_number_of_its_question(lora_r: int) -> None:
    said = ANSWERS.memory(sent(**SMALL | {"lora_r": lora_r}) | {"asked": 7})[-1]
    assert 'data-asked="7"' in said


def test_an_optimizer_of_unknown_memory_is_told_at_its_setting_and_the_count_stands() -> None:
    unknown = sent(**SMALL | {"optimizer": "lomo"})
    said = sentences(ANSWERS.memory(unknown)[-1])
    assert said["optimizer"][0] == "warning"
    assert "lomo" in said["optimizer"][1]
    assert ANSWERS.count(unknown)[0] == ANSWERS.count(sent(**SMALL))[0]
    assert sentences(ANSWERS.memory(sent(**SMALL))[-1]) == {}


def test_pressing_a_saving_touches_what_it_changes_and_shows_it_in_those_widgets_alone() -> None:
    *_, shown = ANSWERS.savings(sent(**SMALL))
    pressed = [json.loads(unescape(found)) for found in re.findall(r'data-touches="([^"]*)"', shown)]
    touches = next(each for each in pressed if "load_in_4bit" in each)
    after = sent(**SMALL | touches) | {"pressed": list(touches)}
    recipe = Draft.from_page(after).recipe
    assert (recipe.load_in_4bit, recipe.adapter) == (True, "qlora")
    card, segments, *widgets = show_pressed(after)
    assert card == segments == SKIPPED
    assert [widget for widget in widgets if widget != SKIPPED] == [
        touches[name] for name in SETTINGS if name in touches
    ]


@pytest.mark.parametrize("pressed", [None, "lora_r", [7], ["no_such_setting"]])
def test_what_is_no_press_writes_to_no_widget(pressed: Any) -> None:
    assert set(map(repr, show_pressed(sent(lora_r=8) | {"pressed": pressed}))) == {repr(SKIPPED)}


def test_names_to_choose_from_follow_the_base_model_even_where_nothing_matches() -> None:
    _, facts, modules, *_ = ANSWERS.details(sent(base_model="openai-community/gpt2"))
    assert "GPT-2" in facts
    assert "c_attn" in {value for _, value in modules["choices"]}


def test_text_that_cannot_be_read_moves_no_widget() -> None:
    draft, *widgets = opening.open_text("- a list", sent())
    assert draft == sent() | {"unread": "- a list"}
    assert set(map(repr, widgets)) == {repr(SKIPPED)}


def test_text_that_cannot_be_read_stays_in_the_editor_and_marks_the_numbers_as_old() -> None:
    unread = sent(lora_alpha=64) | {"unread": "lora_r: 3O"}
    tiles, side_notes = ANSWERS.count(unread)
    assert (tiles, YAML.write(unread)) == (SKIPPED, SKIPPED)
    assert sentences(side_notes)["lora_r"][0] == "error"
    assert "3O" in YAML.read(unread)
    after, *_ = opening.open_text("lora_r: 30", unread)
    assert after["unread"] is None


def test_opening_a_text_moves_only_the_widgets_that_it_changes() -> None:
    start = start_draft()
    text = start.text.replace("lora_r: 32", "lora_r: 8")
    draft, *widgets = opening.open_text(text, sent())
    moved = [widget for widget in widgets if widget != SKIPPED]
    assert moved == [8]
    assert Draft.from_page(draft).recipe.lora_r == 8


def test_opening_a_text_takes_back_what_was_touched_before() -> None:
    start = start_draft()
    draft, *widgets = opening.open_text(start.text, sent(lora_r=64))
    assert [widget for widget in widgets if widget != SKIPPED] == [32]
    assert Draft.from_page(draft).touched == {}


def test_an_upload_that_is_no_text_gets_a_sentence() -> None:
    complaint, *rest = opening.open_upload(b"\xff\xfe\x00", sent(), None)
    assert "UTF-8" in complaint
    assert set(map(repr, rest)) == {repr(SKIPPED)}


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[]", b"{", b'{"model_type": "llama", "num_hidden_layers": 1000000}']
)
def test_a_config_that_builds_no_model_gets_a_sentence_and_changes_nothing(content: bytes) -> None:
    draft, complaint = opening.open_config(content, sent())
    assert draft == SKIPPED
    assert complaint


def test_memory_tells_the_peak_its_moment_and_a_verdict() -> None:
    tiles, bar, peak, _ = ANSWERS.memory(sent())
    chips = ANSWERS.cards(sent())
    assert re.search(r'id="peak-memory" data-value="\d+"', tiles)
    assert 'id="memory-accuracy"' in bar
    assert 'class="chip' in chips
    assert 'id="peak-moment"' in peak
    assert "<svg" in peak


def test_the_allocator_s_setting_moves_the_figure_and_no_key_of_the_yaml() -> None:
    plain = sent() | {"expandable_segments": False}
    assert ANSWERS.memory(plain)[0] != ANSWERS.memory(sent())[0]
    assert YAML.write(plain) == YAML.write(sent())
    assert Draft.from_page(plain).for_page() == plain


def test_what_cannot_be_traced_shows_a_lower_bound_that_is_marked_as_one() -> None:
    tiles, bar, *_ = ANSWERS.memory(sent(**TOO_MUCH))
    assert "lower bound, not an estimate" in tiles
    assert 'id="peak-memory">≥' in tiles
    assert 'id="lower-bound"' in bar
    assert "tokens at once" in bar


def test_savings_come_one_after_the_other_and_are_counted() -> None:
    shown = list(ANSWERS.savings(sent(**SMALL)))
    assert f"0 of {len(shown) - 1}" in shown[0]
    assert " of " not in shown[-1]
    assert 'data-setting="sequence_len"' in shown[-1]


def test_savings_end_when_their_visitor_asks_about_another_draft() -> None:
    shown = ANSWERS.savings(sent(**SMALL))
    assert "0 of" in next(shown)
    ANSWERS.memory(sent(**SMALL | {"micro_batch_size": 3}))
    assert list(shown) == []


def test_a_late_memory_question_about_the_same_draft_leaves_its_savings_be() -> None:
    shown = ANSWERS.savings(sent(**SMALL))
    next(shown)
    ANSWERS.memory(sent(**SMALL) | {"asked": 2})
    assert "1 of" in next(shown)
