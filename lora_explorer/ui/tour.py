"""A walk over the page in two minutes: offered once, on the first visit, and to be had again from the foot of the page.

A stop whose element is not on the page is left out. The page's script knows no sentence; all of them stand here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import gradio as gr

from lora_explorer.report.html import Html, tag
from lora_explorer.ui.layout import script_of

TOURED = "lora-explorer.toured.1"
"""The key under which the browser keeps that the tour was offered and answered."""
_NEW_HERE, _TAKE, _NO = "New here?", "A two-minute tour", "No tour"
_AGAIN = "Tour"
_BACK, _NEXT, _DONE, _CLOSE = "Back", "Next", "Done", "Close the tour"
_COUNT = "{number} of {count}"


@dataclass(frozen=True)
class Stop:
    """marks: selectors of what is marked meanwhile; the first one is what is told about, and decides where to be."""

    marks: tuple[str, ...]
    title: str
    text: str


STOPS = (
    Stop(
        ("#base_model",),
        "The base model",
        "Choose what you adapt: a preset, a Hub id, or your own config.json. Only its shapes are read; no weights are "
        "downloaded.",
    ),
    Stop(
        ("#lora_r", "#count-tiles"),
        "Rank and count",
        "Move the rank and watch the count. It is exact: what PEFT itself reports for this adapter. The ? at each "
        "setting tells what it changes from here.",
    ),
    Stop(
        ("#panel-memory",),
        "Memory and your card",
        "One training step is traced, and its memory is replayed. Choose your card here; the bar shows what takes the "
        "room at the peak.",
    ),
    Stop(
        ("#memory-tiles .tile:last-child", '[role="tab"][data-tab-id="fit"]'),
        "Does it fit?",
        "The verdict for your card, and what is left on it or missing. The tab Fit says how far you can go, what to "
        "change if it does not fit, and which cards run it.",
    ),
    Stop(
        ("#panel-layers",),
        "What is trained",
        "Each layer and each kind of module: the stronger the colour, the more is trained there. Press or drag in the "
        "map to train less or more of it.",
    ),
    Stop(
        ('[role="tab"][data-tab-id="presets"]',),
        "Presets",
        "Recipes with a purpose, each with its figures: a small card, long context, DoRA, experts. Your own are kept "
        "there too.",
    ),
    Stop(
        ("#pin",),
        "Compare",
        "Pin keeps what is on screen. Change something and pin again: the tab Compare holds them side by side.",
    ),
    Stop(
        ("#copy-yaml",),
        "Take it away",
        "The YAML is what Axolotl takes. In the tab YAML it can be edited, and the settings follow; other programs' "
        "files are read and written there too.",
    ),
)


def build_tour() -> gr.HTML:
    """The offer takes no room where there is a line to stand on, and the walk lies over the page."""
    return gr.HTML(
        "",
        html_template=tag("div", _offer(), _box(), class_="tour"),
        elem_id="tour",
        apply_default_css=False,
        js_on_load=_on_load(),
    )


def _offer() -> Html:
    take = tag("button", _TAKE, type="button", class_="tour-take")
    dismiss = tag("button", "✕", type="button", class_="tour-dismiss", aria_label=_NO, title=_NO)
    return tag("div", tag("span", _NEW_HERE), take, dismiss, class_="tour-offer", hidden=True)


def _box() -> Html:
    said = tag("div", tag("h2", id="tour-title"), tag("p", id="tour-text"), aria_live="polite")
    asks = tag(
        "div",
        tag("span", class_="tour-count"),
        tag("button", _BACK, type="button", class_="tour-back"),
        tag("button", _NEXT, type="button", class_="tour-next"),
        class_="tour-asks",
    )
    close = tag("button", "✕", type="button", class_="tour-close", aria_label=_CLOSE, title=_CLOSE)
    return tag(
        "div", close, said, asks, class_="tour-box", popover="manual", role="dialog", aria_labelledby="tour-title"
    )


def _on_load() -> str:
    words = {"AGAIN": _AGAIN, "NEXT": _NEXT, "DONE": _DONE, "COUNT": _COUNT}
    names = {"STOPS": [asdict(stop) for stop in STOPS], "TOURED": TOURED, **words}
    constants = "".join(f"const {name} = {json.dumps(value, ensure_ascii=False)};\n" for name, value in names.items())
    return constants + script_of("tour.js")
