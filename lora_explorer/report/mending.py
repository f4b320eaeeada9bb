"""Fixes as buttons: what is pressed names its finding, and whoever gets the press finds the fix again by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lora_explorer.exports.yaml_documents.text import value_as_text
from lora_explorer.findings import Finding, Fix
from lora_explorer.report.html import Html, tag

_LONGEST_WORDS = 90


def fix_in_words(fix: Fix) -> str:
    """load_in_4bit: true, adapter: qlora: what is written, and what goes."""
    said = whole_fix_in_words(fix)
    return said if len(said) <= _LONGEST_WORDS else f"{said[: _LONGEST_WORDS - 1]}…"


def whole_fix_in_words(fix: Fix) -> str:
    """However long it is."""
    written = [f"{key}: {value_as_text(value)}" for key, value in fix if value is not None]
    gone = [key for key, value in fix if value is None]
    less = [f"{'without' if written else 'remove'} {' and '.join(gone)}"] if gone else []
    return ", ".join([*written, *less])


def pressed_for(finding: Finding) -> dict[str, str]:
    """What a press on its fix says; the page sends it back."""
    return {"setting": finding.setting, "message": finding.message}


def fix_button(finding: Finding) -> Html | None:
    """A button that writes the fix into the file; None where there is none."""
    if not finding.fix:
        return None
    said = fix_in_words(finding.fix)
    return tag(
        "button",
        "Fix ",
        tag("code", said),
        type="button",
        class_="fix",
        title=f"Writes it into the file: {said}",
        data_keep=f"fix {finding.setting} {finding.message}",
        data_mend=json.dumps(pressed_for(finding)),
    )


def fix_pressed(pressed: Any, findings: Iterable[Finding]) -> Fix:
    """The fix that a press is for, as it is now; empty where it is no longer called for, or never was."""
    asked = dict(pressed) if isinstance(pressed, Mapping) else None
    return next((finding.fix for finding in findings if pressed_for(finding) == asked), ())
