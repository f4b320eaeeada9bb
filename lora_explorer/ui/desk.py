"""Where the page keeps the draft: a component without a face, told by every widget what it holds now.

One small value instead of ninety widgets goes up with each question. Gradio collects, compares and marks as pending
every input of an event, one by one, which at ninety takes longer than the answer.
"""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

TOUCH = "setting-touched"
"""The DOM event by which a widget tells: detail {name, value}."""

_ON_LOAD = f"""
document.addEventListener("{TOUCH}", (event) => {{
  const {{ name, value }} = event.detail;
  const draft = props.value;
  if (name === "card") props.value = {{ ...draft, card: value }};
  else props.value = {{ ...draft, touched: {{ ...draft.touched, [name]: value }} }};
  trigger(name === "card" ? "card" : "touched");
}});
"""


def build_desk(draft: dict[str, Any]) -> gr.HTML:
    """Its value is the draft as `Draft.for_page` gives it. Events: `touched`, and `card` when only the card changed."""
    return gr.HTML(draft, html_template="", js_on_load=_ON_LOAD, apply_default_css=False, elem_id="desk")


def tell(name: str, widget: Any) -> None:
    """Have a widget tell the desk when its visitor changes it. Nothing goes to the server for that."""
    # A list of choices stays silent about an entry that was typed, except in its change event; that one also fires when
    # a file is opened, where it says nothing new: what a widget shows for a file counts as untouched.
    silent = isinstance(widget, gr.Dropdown) and widget.multiselect
    event = widget.change if silent else widget.input
    event(None, widget, None, js=f"(value) => {{ {touch_js(name, 'value')} }}", show_progress="hidden")


def touch_js(name: str, value: str) -> str:
    """A JavaScript statement that tells the desk. value: a JavaScript expression."""
    detail = f"{{ name: {json.dumps(name)}, value: {value} }}"
    return f'document.dispatchEvent(new CustomEvent("{TOUCH}", {{ detail: {detail} }}));'
