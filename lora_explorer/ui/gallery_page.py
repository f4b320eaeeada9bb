"""The tab Presets, built and wired: recipes that come along, and those that visitors keep in their browser."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import gradio as gr

from lora_explorer.exploration.permalink import LONGEST_NAME
from lora_explorer.report.html import tag
from lora_explorer.ui.desk import CHANGED, REPLACED, WANTED
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.gallery_answers import GalleryAnswers
from lora_explorer.ui.layout import script_of
from lora_explorer.ui.own_presets import FORMAT, LARGEST_FILE_BYTES, MOST_PRESETS, STORED, VERSION

# Longer, and a few figures of one visitor would hold those of all others up.
_AT_ONCE = 4
OPENED_JS = '() => { setTimeout(() => document.dispatchEvent(new CustomEvent("presets-opened")), 60); }'


def build_gallery() -> gr.HTML:
    """Empty until its tab is opened. Events: `offer`, `weigh`, `take`."""
    return gr.HTML(
        {},
        html_template=tag("div", class_="gallery"),
        elem_id="gallery",
        apply_default_css=False,
        js_on_load=_on_load(),
    )


def wire_gallery(tab: gr.Tab, gallery: gr.HTML, answers: GalleryAnswers, live: dict[str, Any]) -> None:
    """live: how the page asks."""
    slow = live | {"queue": True, "concurrency_limit": _AT_ONCE}
    gallery.offer(answers.offer, None, gallery, **slow)
    gallery.weigh(answers.weigh, gallery, gallery, **slow)
    gallery.take(answers.take, gallery, gallery, **live)
    tab.select(None, None, None, js=OPENED_JS)


def _on_load() -> str:
    names: dict[str, Any] = {"CHANGED": CHANGED, "REPLACED": REPLACED, "WANTED": WANTED, "STORED": STORED}
    names |= {"MOST": MOST_PRESETS, "LONGEST": LONGEST_NAME, "DRAFT": [one.name for one in fields(Draft)]}
    names |= {"FORMAT": FORMAT, "VERSION": VERSION, "MOST_BYTES": LARGEST_FILE_BYTES}
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in names.items())
    return constants + script_of("gallery.js")
