"""Where the page keeps the draft: a component without a face, told by every widget what it holds now.

One small value instead of ninety widgets goes up with each question. Gradio collects, compares and marks as pending
every input of an event, one by one, which at ninety takes longer than the answer. And because every question starts
here, a late answer to an older draft never comes after a newer one.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import gradio as gr

from lora_explorer.ui.draft import Draft

TOUCHED = "setting-touched"
"""The DOM event by which a widget tells: detail {name, value}, of a list of choices also {list}, its elem_id."""
WEIGHED = "memory-known"
"""The DOM event by which the page tells that an answer about memory has come: detail is the question's number."""
AT_FAULT = "settings-at-fault"
"""The DOM event by which the page tells that what it holds cannot be counted."""
CHANGED = "draft-changed"
"""The DOM event by which the desk tells that the draft is another one, whoever changed it: detail is the draft."""
REPLACED = "draft-replaced"
"""The DOM event that puts another whole draft in place: detail {draft}, as `Draft.for_page` gives it."""
WANTED = "draft-wanted"
"""The DOM event that asks for the draft: detail is a function, which is called with it at once."""
AWAITED = "draft-awaited"
"""The DOM event by which the page tells that it is there. Who has another draft to put in place prevents its default,
and asks with `draft-opened` should there be none."""
ASK_JS = f"""() => {{
  if (document.dispatchEvent(new CustomEvent("{AWAITED}", {{ cancelable: true }})))
    document.dispatchEvent(new CustomEvent("draft-opened"));
}}"""
"""Has the desk ask about the draft as it is, once the page is there."""

BESIDE = ("card", "expandable_segments")
"""What is chosen beside the recipe, and moves its memory alone."""


def build_desk(draft: dict[str, Any]) -> gr.HTML:
    """Its value is the draft as `Draft.for_page` gives it. Events: `count`, `write`, `draw`, `weigh`, `sort`, `save`.

    They come in this order, the last one when the draft has rested; `press` when a saving was pressed, `mend` when a
    fix was, `replace` when another draft was put in place. `read` or `compare` while the right pane of the YAML tab is
    in sight.
    """
    return gr.HTML(draft, html_template="", js_on_load=_on_load(), apply_default_css=False, elem_id="desk")


def _on_load() -> str:
    events = {"TOUCHED": TOUCHED, "WEIGHED": WEIGHED, "AT_FAULT": AT_FAULT}
    events |= {"CHANGED": CHANGED, "REPLACED": REPLACED, "WANTED": WANTED}
    names = {"BESIDE": BESIDE, "DRAFT": [one.name for one in fields(Draft)], **events}
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in names.items())
    return constants + (Path(__file__).parent / "assets" / "desk.js").read_text(encoding="utf-8")


def tell(name: str, widget: Any, by: str = TOUCHED) -> None:
    """Have a widget tell the desk when its visitor changes it. Nothing goes to the server for that.

    name: of its setting, or what the draft calls it that is chosen beside them. by: the DOM event, of another desk.
    """
    # A list of choices is silent about an entry that was typed, and a text field about one that was pasted or deleted,
    # except in their change event; that one also fires when a file is opened, where it says nothing new: what a widget
    # shows for a file counts as untouched.
    silent = isinstance(widget, gr.Textbox) or (isinstance(widget, gr.Dropdown) and widget.multiselect)
    event = widget.change if silent else widget.input
    # It tells also when it is only left, which is for the desk to find out.
    choices = widget.elem_id if isinstance(widget, gr.Dropdown) and not silent else None
    event(None, widget, None, js=f"(value) => {{ {touch_js(name, 'value', by, choices)} }}", show_progress="hidden")


def touch_js(name: str, value: str, by: str = TOUCHED, choices: str | None = None) -> str:
    """A JavaScript statement that tells the desk. value: a JavaScript expression. choices: the id of a list of them."""
    chosen_from = f", list: {json.dumps(choices)}" if choices else ""
    detail = f"{{ name: {json.dumps(name)}, value: {value}{chosen_from} }}"
    return f'document.dispatchEvent(new CustomEvent("{by}", {{ detail: {detail} }}));'
