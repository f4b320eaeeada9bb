"""What would save memory, as a list: largest first, each with every setting that changes."""

from __future__ import annotations

import re
from dataclasses import replace

from lora_explorer.memory.savings import Saving
from lora_explorer.report.savings import change_in_words, savings_list

GIB = 1 << 30
FOUR_BIT = Saving("load_in_4bit", True, {"load_in_4bit": True, "adapter": "qlora"}, 10 * GIB, 9 * GIB)
SHORTER = Saving("sequence_len", 1024, {"sequence_len": 1024}, 15 * GIB, 4 * GIB)
TARGETS = Saving("lora_target_modules", ("q_proj",), {"lora_target_modules": ("q_proj",)}, 18 * GIB, GIB)
ALLOCATOR = Saving("PYTORCH_ALLOC_CONF", "expandable_segments:True", {}, 18 * GIB, GIB)


def test_a_change_is_written_as_yaml_with_all_it_needs() -> None:
    assert change_in_words(FOUR_BIT) == "load_in_4bit: true, adapter: qlora"
    assert change_in_words(TARGETS) == "lora_target_modules: [q_proj]"
    assert change_in_words(ALLOCATOR) == "PYTORCH_ALLOC_CONF: expandable_segments:True"


def test_lines_keep_their_order_and_bars_their_scale() -> None:
    shown = savings_list((FOUR_BIT, SHORTER))
    assert re.findall(r'data-setting="(\w+)"', shown) == ["load_in_4bit", "sequence_len"]
    assert re.findall(r'<b data-value="(\d+)"', shown) == [str(9 * GIB), str(4 * GIB)]
    assert re.findall(r"width:([\d.]+)%", shown) == ["100.0", "44.4"]
    assert 'with <span translate="no">adapter</span>' in shown


def test_each_change_is_a_button_that_carries_what_it_touches() -> None:
    shown = savings_list((FOUR_BIT,), touches=lambda saving: {"adapter": "qlora"})
    assert 'data-touches="{&quot;adapter&quot;: &quot;qlora&quot;}"' in shown
    assert shown.count("<button") == 1
    assert "makes it fit" not in shown
    assert "makes it fit" in savings_list((replace(FOUR_BIT, makes_fit=True),))


def test_more_than_a_handful_is_one_click_away() -> None:
    shown = savings_list((SHORTER,) * 12)
    inside = shown.partition("<details")
    assert (inside[0].count("<li"), inside[2].count("<li")) == (7, 5)


def test_while_changes_are_traced_the_list_says_how_far_it_is() -> None:
    assert "1 of 9" in savings_list((SHORTER,), tried=1, total=9)
    assert "0 of 9" in savings_list((), tried=0, total=9)
    assert " of " not in savings_list((SHORTER,), tried=9, total=9)


def test_nothing_to_save_is_said() -> None:
    assert "None of the usual changes" in savings_list((), tried=9, total=9)


def test_a_value_that_is_markup_is_shown_as_text() -> None:
    evil = Saving("lora_target_modules", ("<img>",), {"lora_target_modules": ("<img>",)}, 1, 1)
    assert "<img" not in savings_list((evil,))
