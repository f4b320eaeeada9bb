"""A field for a number, with or without a slider, that takes what is typed as it is.

Gradio's own slider pulls a typed number into its range, so that 0 or 10^9 would silently become something else, and its
number field shows an empty value as 0. Here a range is only where the slider is moved, empty is empty, and what is
allowed is the setting's to say.
"""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import gradio as gr

from lora_explorer.ui.desk import TOUCHED, touch_js

NOT_SET = "not set"
Range = tuple[float, float, float]
"""Lowest, highest, step."""

# `tell` is defined before it for each field. The value is kept out of the template, so that a new one never redraws
# what is being dragged or typed in.
_ON_LOAD = """
const range = element.querySelector("input[type=range]");
const number = element.querySelector("input[type=number]");
const slide = (value) => {
  if (!range) return;
  if (value !== null && Number(range.value) !== value) range.value = value;
  range.style.setProperty("--share", (range.value - range.min) / (range.max - range.min));
};
const show = () => {
  if (document.activeElement !== number) number.value = props.value ?? "";
  slide(props.value);
};
element.addEventListener("input", ({ target }) => {
  const value = target.value === "" ? null : Number(target.value);
  if (target === range) number.value = value;
  props.value = value;
  slide(value);
  tell(value);
});
number.addEventListener("blur", show);
watch("value", show);
show();
"""


def number_field(name: str, value: float | None, range_: Range | None = None, **common: Any) -> gr.HTML:
    """A field whose value is a number, or None while it is empty. name: by which it tells the desk what it holds.

    range_: None for a field without a slider. common: label, info, elem_id and elem_classes, as every widget has them;
    `by` where it is another desk's event by which it tells, `empty` for what an empty field says.
    """
    label, info, by = common.pop("label"), common.pop("info"), common.pop("by", TOUCHED)
    empty = common.pop("empty", NOT_SET)
    return gr.HTML(
        value,
        label=label,
        html_template=_template(_Words(label, info, empty), range_, common["elem_id"]),
        js_on_load=f"const tell = (value) => {{ {touch_js(name, 'value', by)} }};{_ON_LOAD}",
        apply_default_css=False,
        **common,
    )


class _Words(NamedTuple):
    label: str
    info: str
    empty: str


def _template(words: _Words, range_: Range | None, key: str) -> str:
    label, info, empty = (_literal(text) for text in words)
    return (
        f'<label for="{key}-number" class="setting-label">{label}</label>'
        f'<div class="{"number-slider" if range_ else "number-alone"}">{_slider(label, range_) if range_ else ""}'
        f'<input type="number" id="{key}-number" step="any" placeholder="{empty}" aria-describedby="{key}-help"></div>'
        f'<div class="setting-help" id="{key}-help">{info}</div>'
    )


def _slider(label: str, range_: Range) -> str:
    lowest, highest, step = range_
    return f'<input type="range" min="{lowest:g}" max="{highest:g}" step="{step:g}" aria-label="{label}, slider">'


def _literal(text: str) -> str:
    """Text in a template that is read as HTML, as a JavaScript template and by Handlebars."""
    return "".join(f"&#{ord(sign)};" if sign in "`${}\\" else sign for sign in escape(text))
