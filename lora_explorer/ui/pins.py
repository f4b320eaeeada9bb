"""Where the page keeps the pinned configurations: a button beside the headline, and the browser's own storage.

A pin is a name and a draft. The list lives in the browser and is read like any stranger's input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from lora_explorer.exploration.permalink import LONGEST_NAME, MOST_PINNED
from lora_explorer.report.html import Html, tag
from lora_explorer.ui.desk import CHANGED, REPLACED, WANTED
from lora_explorer.ui.draft import Draft

STORED = "lora-explorer.pins.1"
"""The key under which the browser keeps them."""
PINS_CHANGED = "pins-changed"
"""The DOM event by which the page tells that the pins are others: detail is the list of {name, draft}."""
PINS_WANTED = "pins-wanted"
"""The DOM event that asks for the pins: detail is a function, which is called with the list at once."""
PINS_REPLACED = "pins-replaced"
"""The DOM event that puts another list in place of all pins: detail is the list."""
PIN_ADDED = "pin-added"
"""The DOM event that adds one pin: detail {name, draft}; without a name one is proposed."""
OPENED_JS = '() => { setTimeout(() => document.dispatchEvent(new CustomEvent("compare-opened")), 60); }'
"""Has the comparison asked for, once its tab is in sight."""

_PICTURE = Html(
    '<svg viewBox="0 0 16 16" width="15" height="15" aria-hidden="true"><path d="M9.8 1.2 14.8 6.2 13.6 7.4 12.9 7.2 '
    '9.9 10.2 9.7 13 8.6 14.1 5.4 10.9 2 14.3 1.7 14 5.1 10.6 1.9 7.4 3 6.3 5.8 6.1 8.8 3.1 8.6 2.4z"/></svg>'
)


@dataclass(frozen=True)
class Pin:
    """name: empty until one is proposed or typed."""

    name: str
    draft: Draft


def pins_from_page(value: Any) -> tuple[Pin, ...]:
    """The pins as a page sent them; what is not as it should be is left out."""
    listed = value.get("pins") if isinstance(value, Mapping) else None
    given = listed[:MOST_PINNED] if isinstance(listed, list) else []
    return tuple(
        Pin(each["name"][:LONGEST_NAME], Draft.from_page(each.get("draft")))
        for each in given
        if isinstance(each, Mapping) and isinstance(each.get("name"), str)
    )


def build_pins() -> gr.HTML:
    """Its value holds the pins and the number of the question. Events: `table`, `figures`, `name`, `remember`."""
    button = tag(
        "button",
        _PICTURE,
        tag("b", "Pin"),
        tag("span", tag("span", 0), tag("span", f" of {MOST_PINNED}", class_="pin-most"), class_="pin-count"),
        type="button",
        id="pin",
        data_pin_ask="pin",
        title="Keep this configuration for comparison",
    )
    return gr.HTML(
        {"pins": [], "asked": 0},
        html_template=tag("div", button, tag("p", class_="pin-said", role="status"), class_="pin-place"),
        elem_id="pins",
        apply_default_css=False,
        js_on_load=_on_load(),
    )


def _on_load() -> str:
    events = {"CHANGED": CHANGED, "REPLACED": REPLACED, "WANTED": WANTED}
    events |= {"PINS_CHANGED": PINS_CHANGED, "PINS_WANTED": PINS_WANTED}
    events |= {"PINS_REPLACED": PINS_REPLACED, "PIN_ADDED": PIN_ADDED, "STORED": STORED}
    limits = {"MOST": MOST_PINNED, "LONGEST": LONGEST_NAME, "DRAFT": [one.name for one in fields(Draft)]}
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in {**events, **limits}.items())
    return constants + (Path(__file__).parent / "assets" / "pins.js").read_text(encoding="utf-8")
