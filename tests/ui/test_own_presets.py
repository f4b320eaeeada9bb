"""A file of presets that somebody opens: what was exported comes back whole, anything else gets one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lora_explorer.errors import UnreadablePresets
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.codec import is_shown
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.own_presets import FORMAT, LARGEST_FILE_BYTES, MOST_PRESETS, OwnPreset, read_presets
from lora_explorer.ui.page import start_draft

DRAFT = start_draft().for_page()


def content(*presets: Any, **changed: Any) -> dict[str, Any]:
    return {"format": FORMAT, "version": 1, "presets": list(presets), **changed}


def named(name: Any = "mine", **changed: Any) -> dict[str, Any]:
    return {"name": name, "draft": {**DRAFT, **changed}}


def test_what_was_exported_comes_back_as_it_was() -> None:
    drafts = (
        start_draft(),
        Draft("base_model: a/b\n", {"lora_r": 64}, card="T4", expandable_segments=False, config="{}", config_for="a/b"),
        Draft("adapter: lora\n", {"lora_r": -5}),
    )
    presets = tuple(OwnPreset(f"preset {number} <b>", draft) for number, draft in enumerate(drafts))
    written = content(*({"name": each.name, "draft": each.draft.for_page()} for each in presets))
    assert read_presets(json.dumps(written)) == presets


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "larger than 2 MiB"),
        ("x" * (LARGEST_FILE_BYTES + 1), "larger than 2 MiB"),
        ("", "not JSON: something is wrong at line 1"),
        ("\n\nadapter: lora", "not JSON: something is wrong at line 3"),
        ("[" * 100_000, "not JSON of a usual size and depth"),
        ("1" * 10_000, "not JSON of a usual size and depth"),
        ("[]", "holds no presets of this page"),
        ("null", "holds no presets of this page"),
        (content(format="other"), "holds no presets of this page"),
        (content(named(), version=2), "not of version 1"),
        (content(named(), version=True), "not of version 1"),
        (content(named(), version="1"), "not of version 1"),
        (content(), "holds no presets."),
        (content(presets={"name": "x"}), "holds no presets."),
        (content(*[named(str(number)) for number in range(MOST_PRESETS + 1)]), "31 presets; 30 are the most"),
        (content("mine"), "Preset 1 of the file has no name"),
        (content(named(), named("  ")), "Preset 2 of the file has no name"),
        (content(named(7)), "Preset 1 of the file has no name"),
        (content(named("x" * 81)), "at most 80 characters"),
        (content(named("a"), named(" a ")), "Two presets of the file are called 'a'."),
        (content({"name": "mine"}), "'mine', holds no configuration"),
        (content({"name": "mine", "draft": []}), "'mine', holds no configuration"),
        (content(named(text=5)), "holds no configuration"),
        (content(named(text="x" * (256 * 1024 + 1))), 'holds a "text" of more than 256 KiB'),
        (content(named(text="a: [")), "cannot be used: "),
        (content(named(text="- a list")), "cannot be used: "),
        (content(named(unread="a: [")), "cannot be used: "),
        (content(named(card="RTX 1")), "the card 'RTX 1', which is not known here"),
        (content(named(card=None)), 'holds a "card" that is no text'),
        (content(named(config=[])), 'holds a "config" that is no text'),
        (content(named(touched=[])), 'holds a "touched" that is no mapping'),
        (content(named(touched={"hub_token": "x"})), "the setting 'hub_token', which is not known here"),
        (content(named(expandable_segments="no")), "neither true nor false"),
    ],
)
def test_any_other_file_is_refused_in_one_sentence(text: Any, sentence: str) -> None:
    with pytest.raises(UnreadablePresets) as refused:
        read_presets(text if text is None or isinstance(text, str) else json.dumps(text))
    assert sentence in str(refused.value)
    assert len(str(refused.value)) < 400
    assert len(refused.value.findings) == 1


@pytest.mark.parametrize(
    "value", [None, [], {}, "", "no number", -1, 1e308, True, ["a", 1], {"a": {"b": []}}, "x" * 20_000]
)
def test_a_value_that_a_widget_can_show_is_kept_to_be_told_at_its_setting_and_any_other_is_left_out(value: Any) -> None:
    (preset,) = read_presets(json.dumps(content(named(touched={"lora_r": value, "lora_target_modules": value}))))
    kept = [name for name in ("lora_r", "lora_target_modules") if is_shown(SETTINGS[name], value)]
    assert preset.draft.touched == dict.fromkeys(kept, value)
