"""What an edit of the layer × module map wrote, in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag
from lora_explorer.settings import SETTINGS

if TYPE_CHECKING:
    from lora_explorer.exploration.layer_map import Wording

NOTHING_TO_DO = "That is so already; nothing was written."


def edit_in_words(wording: Wording) -> Html:
    """What was written, shortest as it is, or why it cannot be said."""
    if wording.why_not:
        return tag("p", wording.why_not, class_="sentence", data_kind="warning")
    if not wording.changes:
        return tag("p", NOTHING_TO_DO, class_="sentence")
    changes = wording.changes.items()
    written = [tag("code", f"{_key(name)}: {_typed(value)}") for name, value in changes if value is not None]
    emptied = [tag("code", _key(name)) for name, value in changes if value is None]
    parts = [("Written: ", written), ("emptied: " if written else "Emptied: ", emptied)]
    said = [join(start, _listed(names)) for start, names in parts if names]
    return tag("p", *_between(said, "; "), ".", class_="sentence", data_kind="written")


def press(touches: Mapping[str, Any]) -> Html:
    """A button that nobody sees: the page presses it, so that settings change as if they were touched."""
    return tag("button", type="button", hidden=True, data_touches=json.dumps(touches))


def _listed(names: list[Html]) -> Html:
    return join(*_between(names, ", "))


def _between(parts: list[Html], sign: str) -> list[object]:
    return [each for number, part in enumerate(parts) for each in ((sign, part) if number else (part,))]


def _key(name: str) -> str:
    return SETTINGS[name].key


def _typed(value: Any) -> str:
    """As the setting's own field takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {number}' for key, number in value.items())}}}"
    if not isinstance(value, tuple):
        return str(value)
    if all(isinstance(item, int) for item in value):
        return words.spans(value)
    return f"[{', '.join(str(item) for item in value)}]"
