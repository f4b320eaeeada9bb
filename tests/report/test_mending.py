"""A fix is said in words, and a press on it finds it again or nothing."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from lora_explorer.findings import Finding
from lora_explorer.report.mending import fix_button, fix_in_words, fix_pressed

FIX = (("adapter", "qlora"), ("load_in_8bit", None))
FINDING = Finding("adapter", "error", "Not <so>.", fix=FIX)


def test_a_fix_says_what_it_writes_and_what_goes() -> None:
    assert fix_in_words(FIX) == "adapter: qlora, without load_in_8bit"
    assert fix_in_words((("a", None), ("b", None))) == "remove a and b"
    assert fix_in_words((("lora_modules_to_save", ("embed_tokens", "lm_head")),)).endswith("[embed_tokens, lm_head]")
    assert fix_in_words((("rows", {"embed_tokens": (1, 2)}),)) == "rows: {embed_tokens: [1, 2]}"


def test_words_of_a_long_fix_are_cut() -> None:
    said = fix_in_words((("tokens", tuple(f"<{number}>" for number in range(500))),))
    assert len(said) == 90
    assert said.endswith("…")


def test_a_press_on_the_button_finds_the_fix() -> None:
    button = fix_button(FINDING)
    assert button
    assert "<so>" not in button
    found = re.search(r'data-mend="([^"]*)"', button)
    assert found
    pressed = json.loads(unescape(found[1]))
    assert fix_pressed(pressed, [Finding("adapter", "note", "Else."), FINDING]) == FIX


def test_what_needs_no_fix_has_no_button() -> None:
    assert fix_button(Finding("adapter", "error", "No.")) is None


@pytest.mark.parametrize(
    "pressed",
    [None, 7, "fix", [], {}, {"setting": "adapter"}, {"setting": "adapter", "message": "Not so."}, {"setting": []}],
)
def test_a_press_that_means_nothing_fixes_nothing(pressed: Any) -> None:
    assert fix_pressed(pressed, [FINDING]) == ()
