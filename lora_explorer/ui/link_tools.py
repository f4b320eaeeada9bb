"""Undo, Redo and Share in the header, and starting over: built and wired. What a link holds is not known here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from lora_explorer.report.html import Html, tag
from lora_explorer.ui.link_answers import LinkAnswers

STORED_UNDER = "lora-explorer.draft.1"
"""The key under which the browser keeps the last draft; another shape of it will have another number."""
MOST_STEPS = 50
_SCRIPTS = ("kept_draft.js", "undo.js", "link_words.js", "links.js")
_WORDS = {
    "undo": "Undo",
    "redo": "Redo",
    "undo_nothing": "Undo: nothing to undo",
    "redo_nothing": "Redo: nothing to redo",
    "undone": "Undone: {}.",
    "redone": "Done again: {}.",
    "and_more": "and {} more",
    "text": "the YAML",
    "config": "the config.json",
    "card": "the card",
    "expandable_segments": "expandable segments",
    "link": "opening the link",
    "start_over": "starting over",
    "started_over": "Back at the recipe that the page starts with. Undo brings your settings back.",
    "copied": "Link copied.",
    "not_copied": "The browser does not let the link be copied; here it is.",
    "holds": "It holds the settings and the card.",
    "holds_one": "It holds the settings, the card and one pinned configuration.",
    "holds_more": "It holds the settings, the card and {} pinned configurations.",
    "opened": "Opened from a link.",
    "undo_brings_back": "Undo brings your own settings back.",
    "bring_back_pins": "Bring back my pinned configurations",
}
_UNDO = "M6 3.5 2.5 7 6 10.5M3 7h6.5a3.5 3.5 0 0 1 0 7H7"
_REDO = "M10 3.5 13.5 7 10 10.5M13 7H6.5a3.5 3.5 0 0 0 0 7H9"


def build_link_tools() -> gr.HTML:
    """Its value is a question about a link, then the answer. Events: `write_link`, `read_link`."""
    constants = {"STORED_UNDER": STORED_UNDER, "MOST_STEPS": MOST_STEPS, "WORDS": _WORDS}
    scripts = [f"const {name} = {json.dumps(value)};\n" for name, value in constants.items()]
    assets = Path(__file__).parent / "assets"
    scripts += [(assets / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    return gr.HTML(
        {}, html_template=_tools(), elem_id="link-tools", apply_default_css=False, js_on_load="".join(scripts)
    )


def build_start_over() -> gr.HTML:
    """The way back to the recipe that every visit starts with."""
    over = tag("button", "Start over", type="button", class_="start-over", data_tool="restart", aria_disabled="true")
    return gr.HTML(tag("div", tag("h2", "Settings"), over), elem_id="controls-head", apply_default_css=False)


def wire_link_tools(tools: gr.HTML, answers: LinkAnswers, desk: gr.HTML, live: dict[str, Any]) -> None:
    """live: how they ask."""
    # Events called `share` are Gradio's own.
    tools.write_link(answers.share, [desk, tools], tools, **live)
    tools.read_link(answers.open, tools, tools, **live)


def _tools() -> Html:
    buttons = (_step("undo", _UNDO), _step("redo", _REDO), tag("button", "Share", **_button("share", "tool")))
    spoken = tag("span", class_="link-spoken sr-only", role="status")
    return tag("div", *buttons, _said(), spoken, class_="link-tools")


def _said() -> Html:
    """What is said about a link, where it is read; it is spoken beside it."""
    field = tag("input", readonly=True, hidden=True, aria_label="Link to these settings")
    pins = tag("button", _WORDS["bring_back_pins"], **_button("bring-back", "fix"), hidden=True)
    words = tag("div", tag("p"), field, tag("ul", hidden=True), pins, class_="link-words")
    close = tag("button", "×", **_button("hush", "link-close"), aria_label="Close")
    return tag("div", words, close, class_="link-said", hidden=True)


def _step(name: str, path: str) -> Html:
    icon = tag("svg", tag("path", d=path), viewBox="0 0 16 16", aria_hidden="true")
    told = {"aria_disabled": "true", "aria_label": _WORDS[f"{name}_nothing"], "title": _WORDS[f"{name}_nothing"]}
    return tag("button", icon, **_button(name, "tool icon"), **told)


def _button(name: str, class_: str) -> dict[str, str]:
    return {"type": "button", "class_": class_, "data_tool": name}
