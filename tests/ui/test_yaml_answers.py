"""The YAML tab: what the text means, what differs, and fixes that leave everything else as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
import pytest
import yaml

from lora_explorer.base_models import Access
from lora_explorer.exports.tools import TOOLS, Tool, export_recipe
from lora_explorer.findings import Finding
from lora_explorer.report.mending import pressed_for
from lora_explorer.settings import SETTINGS
from lora_explorer.ui import opening
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.new_tokens import NewTokenAnswers
from lora_explorer.ui.opened_file import DEFAULT_NAME
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.yaml_answers import SINCE_FILE, SINCE_START, YamlAnswers

ANSWERS = Answers(Access(hub=False, folders=False))
YAML = YamlAnswers(ANSWERS, NewTokenAnswers(ANSWERS), start_draft().text)
SKIPPED = gr.skip()
# Some programs know only models of their own.
LLAMA = {"base_model": "NousResearch/Meta-Llama-3-8B", "lora_r": 24}
TEXT = """\
base_model: HuggingFaceTB/SmolLM2-135M # small
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_modules: [q_proj]
batch_size: 8 # rows
micro_batch_size: 2
learning_rate: 0.0002
datasets: [{path: a, type: alpaca}]
my_own: 1
"""


def sent(text: str = TEXT, **touched: Any) -> dict[str, Any]:
    return replace(start_draft(), text=text, touched=touched).for_page()


def press(draft: dict[str, Any], setting: str) -> tuple[Any, ...]:
    """What a press on the fix of the first finding about a setting gives."""
    finding = next(each for each in findings(draft) if each.setting == setting and each.fix)
    return tuple(YAML.mend(draft | {"mend": pressed_for(finding)}))


def findings(draft: dict[str, Any]) -> tuple[Finding, ...]:
    return YAML._reading(Draft.from_page(draft)).findings


def widgets(outputs: tuple[Any, ...]) -> dict[str, Any]:
    return {name: value for name, value in zip(SETTINGS, outputs[2:], strict=True) if value != SKIPPED}


def test_what_only_the_base_model_shows_is_told_beside_the_text() -> None:
    assert "q_prooj" in YAML.read(sent(TEXT.replace("[q_proj]", "[q_proj, q_prooj]")))


def test_lines_are_those_of_the_text_on_screen() -> None:
    html = YAML.read(sent(sequence_len=512))
    assert "line 6" in html
    assert "batch_size has no effect" in html


def test_what_axolotl_fills_in_by_itself_is_told_while_it_takes_the_file() -> None:
    told = "What Axolotl fills in by itself"
    assert told in YAML.read(sent())
    assert told not in YAML.read(sent(lora_r=0))


def test_a_fix_changes_the_lines_it_is_about_and_keeps_comments() -> None:
    editor, draft, *_ = outputs = press(sent(), "batch_size")
    gone = [line for line in TEXT.splitlines() if line not in editor.splitlines()]
    came = [line for line in editor.splitlines() if line not in TEXT.splitlines()]
    assert [line.partition(":")[0] for line in gone] == ["batch_size"]
    assert [line.partition(" #")[0] for line in came if line.startswith("grad")] == ["gradient_accumulation_steps: 4"]
    assert Draft.from_page(draft).recipe.gradient_accumulation_steps == 4
    assert widgets(outputs) == {"gradient_accumulation_steps": 4}


def test_a_fix_keeps_what_widgets_have_changed_elsewhere() -> None:
    editor, draft, *_ = press(sent(lora_r=64), "batch_size")
    assert "lora_r: 64" in editor
    assert Draft.from_page(draft).recipe.lora_r == 64


def test_a_fix_wins_over_a_widget_that_caused_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Finding("lora_r", "error", "No.", fix=(("lora_r", 16),))
    monkeypatch.setattr(YamlAnswers, "_findings", lambda *_: (wrong,))
    editor, draft, *_ = outputs = press(sent(lora_r=0), "lora_r")
    assert "lora_r: 16" in editor
    assert Draft.from_page(draft).touched == {}
    assert widgets(outputs) == {"lora_r": 16}


def test_a_fix_of_a_text_that_cannot_be_used_is_opened_like_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Finding("lora_r", "error", "No.", fix=(("lora_r", 16),))
    monkeypatch.setattr(YamlAnswers, "_findings", lambda *_: (wrong,))
    unread = TEXT.replace("lora_r: 8", "lora_r: eight # mine")
    editor, draft, *_ = press(sent() | {"unread": unread}, "lora_r")
    assert editor == unread.replace("eight", "16")
    assert (draft["text"], draft["unread"]) == (editor, None)


def test_a_fix_that_leaves_another_fault_keeps_the_text_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Finding("lora_r", "error", "No.", fix=(("lora_r", 16),))
    monkeypatch.setattr(YamlAnswers, "_findings", lambda *_: (wrong,))
    unread = TEXT.replace("lora_r: 8", "lora_r: eight").replace("lora_alpha: 16", "lora_alpha: many")
    editor, draft, *_ = outputs = press(sent() | {"unread": unread}, "lora_r")
    assert "lora_r: 16" in editor
    assert (draft["text"], draft["unread"]) == (TEXT, editor)
    assert widgets(outputs) == {}


@pytest.mark.parametrize("pressed", [None, 7, "x", [], {}, {"setting": "lora_r", "message": "x"}, {"way": "x"}])
def test_a_press_that_means_nothing_changes_nothing(pressed: Any) -> None:
    assert set(map(repr, YAML.mend(sent() | {"mend": pressed}))) == {repr(SKIPPED)}


def test_texts_are_laid_over_the_file_and_over_the_start() -> None:
    file = {"name": "mine.yml", "text": TEXT}
    changed = sent(lora_r=64)
    assert "1 line added, 1 removed since mine.yml." in YAML.compare(changed, SINCE_FILE, file)
    assert "Nothing differs from mine.yml." in YAML.compare(sent(), SINCE_FILE, file)
    assert "my_own: 1" in YAML.compare(changed, SINCE_START, file)
    assert "no file has been opened" in YAML.compare(changed, SINCE_FILE, None)


@pytest.mark.parametrize("view", [None, 7, "elsewhere", ["file"]])
def test_a_view_that_is_none_is_the_start(view: Any) -> None:
    assert "the recipe that the page starts with" in YAML.compare(sent(start_draft().text), view, None)


def test_a_text_that_cannot_be_read_can_still_be_compared() -> None:
    assert "1 line added" in YAML.compare(sent(start_draft().text) | {"unread": "- a"}, SINCE_START, None)


@pytest.mark.parametrize("unread", ["- a", "a: [", "\t", "a: 1\na: 2", "x: !!python/name:os", "\x00", ""])
def test_a_text_that_is_no_yaml_is_said_to_be_none(unread: str) -> None:
    assert '<li class="error"' in YAML.read(sent() | {"unread": unread})


def test_the_programs_are_offered_axolotl_first() -> None:
    offered = YAML.programs()
    assert offered["programs"][0] == ["axolotl", "Axolotl"]
    assert offered["chosen"] == "axolotl"
    assert len(offered["programs"]) > 5


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_every_program_gets_its_file_and_what_it_cannot_be_told(tool: Tool) -> None:
    file, pane = YAML.convert(sent(**LLAMA), {"chosen": tool.name})
    assert tool.file_name in file
    assert "24" in file
    assert 'class="reading-summary"' in pane


def test_a_program_says_why_there_is_no_file_and_keeps_the_one_before() -> None:
    file, pane = YAML.convert(sent(adapter=""), {"chosen": "peft"})
    assert file == SKIPPED
    assert "No file for PEFT" in pane
    file, pane = YAML.convert(sent(lora_r=0), {"chosen": "trl"})
    assert file == SKIPPED
    assert "lora_r" in pane


def test_a_base_model_that_cannot_be_had_is_no_reason_not_to_write() -> None:
    file, _ = YAML.convert(sent(base_model="nobody/unknown"), {"chosen": "trl"})
    assert "nobody/unknown" in file


@pytest.mark.parametrize("chosen", [None, 7, "nothing", ["trl"], {}])
def test_a_program_that_is_none_changes_nothing(chosen: Any) -> None:
    assert YAML.convert(sent(), {"chosen": chosen}) == (SKIPPED, SKIPPED)
    assert YAML.convert(sent(), chosen) == (SKIPPED, SKIPPED)


@pytest.mark.parametrize("tool", [tool for tool in TOOLS.values() if tool.read], ids=lambda tool: tool.name)
def test_another_program_s_file_opens_as_the_yaml_that_means_the_same(tool: Tool) -> None:
    recipe, skeleton = ANSWERS.recipe_and_skeleton(Draft.from_page(sent(**LLAMA)))
    content = export_recipe(recipe, tool.name, skeleton).text.encode()
    said, file, editor, draft, *_ = opening.open_upload(content, sent(), {"name": tool.file_name})
    assert f"This is a file of {tool.title}" in said
    assert (file["name"], file["text"]) == (DEFAULT_NAME, editor)
    assert Draft.from_page(draft).recipe.lora_r == 24


@pytest.mark.parametrize("tool", [tool for tool in TOOLS.values() if tool.read], ids=lambda tool: tool.name)
def test_another_program_s_text_that_is_pasted_is_one_press_away_from_what_it_means(tool: Tool) -> None:
    recipe, skeleton = ANSWERS.recipe_and_skeleton(Draft.from_page(sent(**LLAMA)))
    pasted = opening.open_text(export_recipe(recipe, tool.name, skeleton).text, sent())[0]
    told = findings(pasted)
    assert f"This is a file of {tool.title}" in told[0].message
    assert [each for each in told if "does not know" in each.message] == []
    editor, draft, *_ = YAML.mend(pasted | {"mend": pressed_for(told[0])})
    _, _, meant, *_ = opening.open_upload(
        export_recipe(recipe, tool.name, skeleton).text.encode(), sent(), {"name": tool.file_name}
    )
    assert yaml.safe_load(editor) == yaml.safe_load(meant)
    assert Draft.from_page(draft).recipe.lora_r == 24
    assert [each for each in findings(draft) if each.severity == "error"] == []


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"peft_type": "IA3"}', b'{"peft_type": "LORA"}', b"3", b""])
def test_a_json_that_is_no_configuration_gets_a_sentence_and_changes_nothing(content: bytes) -> None:
    said, *rest = opening.open_upload(content, sent(), {"name": "adapter_config.json"})
    assert '<li class="error"' in said
    assert set(map(repr, rest)) == {repr(SKIPPED)}


def test_an_upload_keeps_its_name_and_its_text() -> None:
    named = {"name": "mine.yml", "text": "old: 1"}
    complaint, file, editor, draft, *_ = opening.open_upload(TEXT.encode(), sent(start_draft().text), named)
    assert (complaint, file["name"], file["text"], editor) == ("", "mine.yml", TEXT, TEXT)
    assert draft["text"] == TEXT


def test_an_upload_that_is_too_large_changes_nothing() -> None:
    complaint, *rest = opening.open_upload(b"a" * (1 << 20), sent(), None)
    assert "256 KiB" in complaint
    assert set(map(repr, rest)) == {repr(SKIPPED)}


def test_the_text_on_screen_leaves_out_what_cannot_be_used() -> None:
    draft = Draft.from_page(sent(lora_r=0, lora_alpha=64))
    assert draft.written == TEXT.replace("lora_alpha: 16", "lora_alpha: 64")
