"""Where the page keeps the draft: a component without a face, told by every widget what it holds now.

One small value instead of ninety widgets goes up with each question. Gradio collects, compares and marks as pending
every input of an event, one by one, which at ninety takes longer than the answer. And because every question starts
here, a late answer to an older draft never comes after a newer one.
"""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

TOUCHED = "setting-touched"
"""The DOM event by which a widget tells: detail {name, value}."""
WEIGHED = "memory-known"
"""The DOM event by which the page tells that an answer about memory has come: detail is the question's number."""
AT_FAULT = "settings-at-fault"
"""The DOM event by which the page tells that what it holds cannot be counted."""
ASK_JS = '() => { document.dispatchEvent(new CustomEvent("draft-opened")); }'
"""Has the desk ask about the draft as it is, once the page is there."""

# What is chosen beside the recipe, and moves its memory alone.
_BESIDE = ("card", "expandable_segments")
# While a slider moves the slower answers keep a distance, so that they do not slow the count. Once the slider rests
# they come at once.
_ON_LOAD = f"""
const later = (act, wait_ms, distance_ms) => {{
  let waiting, last = -Infinity;
  const go = () => {{ waiting = undefined; last = performance.now(); act(); }};
  return () => waiting ??= setTimeout(go, Math.max(wait_ms, last + distance_ms - performance.now()));
}};
// Until memory is known for what the page shows, the older figures are marked. Each question has a number, which its
// answer brings back; so no question that was lost on its way can leave the mark to a later answer.
let asked = 0;
const mark = (isOld) => document.body.classList.toggle("weighing", isOld);
const weighNow = () => {{
  asked += 1;
  props.value = {{ ...props.value, asked }};
  mark(true);
  trigger("weigh");
}};
document.addEventListener("{WEIGHED}", ({{ detail }}) => {{ if (detail === asked) mark(false); }});
const write = later(() => trigger("write"), 60, 60), draw = later(() => trigger("draw"), 80, 400);
const weigh = later(weighNow, 120, 600), sort = later(() => trigger("sort"), 400, 1200);
// What takes seconds waits until nothing has changed for a while.
let resting;
const rest = () => {{
  document.querySelector(".savings-whole")?.classList.add("old");
  clearTimeout(resting);
  resting = setTimeout(() => trigger("save"), 1200);
}};
const ask = () => {{ trigger("count"); draw(); weigh(); sort(); rest(); }};
const touch = (held) => {{
  const beside = (name) => {json.dumps(_BESIDE)}.includes(name);
  const draft = {{ ...props.value, touched: {{ ...props.value.touched }} }};
  for (const [name, value] of Object.entries(held)) (beside(name) ? draft : draft.touched)[name] = value;
  props.value = draft;
  if (Object.keys(held).every(beside)) {{
    weighNow();
    sort();
    rest();
  }} else {{
    ask();
    write();
  }}
}};
document.addEventListener("{TOUCHED}", ({{ detail: {{ name, value }} }}) => touch({{ [name]: value }}));
// A saving that is pressed changes several settings at once; the server tells their widgets.
document.addEventListener("click", ({{ target }}) => {{
  const pressed = target.closest?.("[data-touches]")?.dataset.touches;
  if (!pressed) return;
  const held = JSON.parse(pressed);
  touch(held);
  props.value = {{ ...props.value, pressed: Object.keys(held) }};
  trigger("press");
}});
// Where the count stays with an earlier draft, so does all else.
document.addEventListener("{AT_FAULT}", () => {{ draw(); weigh(); sort(); }});
document.addEventListener("draft-opened", ask);
watch("value", ask);
"""


def build_desk(draft: dict[str, Any]) -> gr.HTML:
    """Its value is the draft as `Draft.for_page` gives it. Events: `count`, `write`, `draw`, `weigh`, `sort`, `save`.

    They come in this order, the last one when the draft has rested; `press` when a saving was pressed.
    """
    return gr.HTML(draft, html_template="", js_on_load=_ON_LOAD, apply_default_css=False, elem_id="desk")


def tell(name: str, widget: Any, by: str = TOUCHED) -> None:
    """Have a widget tell the desk when its visitor changes it. Nothing goes to the server for that.

    name: of its setting, or what the draft calls it that is chosen beside them. by: the DOM event, of another desk.
    """
    # A list of choices is silent about an entry that was typed, and a text field about one that was pasted or deleted,
    # except in their change event; that one also fires when a file is opened, where it says nothing new: what a widget
    # shows for a file counts as untouched.
    silent = isinstance(widget, gr.Textbox) or (isinstance(widget, gr.Dropdown) and widget.multiselect)
    event = widget.change if silent else widget.input
    event(None, widget, None, js=f"(value) => {{ {touch_js(name, 'value', by)} }}", show_progress="hidden")


def touch_js(name: str, value: str, by: str = TOUCHED) -> str:
    """A JavaScript statement that tells the desk. value: a JavaScript expression."""
    detail = f"{{ name: {json.dumps(name)}, value: {value} }}"
    return f'document.dispatchEvent(new CustomEvent("{by}", {{ detail: {detail} }}));'
