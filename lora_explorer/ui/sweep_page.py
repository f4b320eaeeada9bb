"""The tab Sweeps: where it stands, and how it is wired."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lora_explorer.report.html import Html, tag
from lora_explorer.report.sweep_quantities import QUANTITIES
from lora_explorer.ui.layout import question, script_of
from lora_explorer.ui.sweep_answers import SweepAnswers
from lora_explorer.ui.sweep_form import MOST_CARDS

OPENED_JS = '() => { setTimeout(() => document.dispatchEvent(new CustomEvent("sweeps-opened")), 30); }'
NOTHING_YET = (
    "Press a question, or choose a setting and a range, and run it. "
    "Every point is predicted like the settings on screen."
)
HOVER = "Point at one to read its figures; press it to take its settings."
_PUBLIC_AT_ONCE = 2


@dataclass(frozen=True)
class SweepTab:
    """form: events `open`, `propose`, `run`, `stop`. result: what `run` writes to, more each time."""

    form: gr.HTML
    result: gr.HTML


def build_sweeps() -> SweepTab:
    """Both parts are empty until the tab is first in sight."""
    with gr.Column(elem_id="panel-sweeps", min_width=0):
        question("What do these settings come to?", "one or two at a time, all else as it is")
        form = _part("sweep-form", tag("div", class_="sweep-place"), f"const MOST_CARDS = {MOST_CARDS};\n")
    with gr.Column(elem_id="panel-sweep-result", min_width=0):
        result = _part("sweep-result", _result(), f"const HOVER = {json.dumps(HOVER)};\n")
    return SweepTab(form, result)


def wire_sweeps(tab: SweepTab, answers: SweepAnswers, desk: gr.HTML, sweeps: gr.Tab) -> None:
    """Only a sweep itself waits in a queue, in a line of its own; in public few are run side by side."""
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    line = {"concurrency_id": "sweeps", "concurrency_limit": _PUBLIC_AT_ONCE if answers.public else None}
    sweeps.select(None, None, None, js=OPENED_JS)
    tab.form.open(answers.open, desk, tab.form, **quick)
    tab.form.propose(answers.propose, [desk, tab.form], tab.form, **quick | {"trigger_mode": "always_last"})
    tab.form.stop(answers.stop, tab.form, None, **quick | {"trigger_mode": "multiple"})
    slow = quick | line | {"queue": True, "trigger_mode": "multiple"}
    tab.form.run(answers.run, [desk, tab.form], tab.result, **slow)


def _part(elem_id: str, template: Html, constants: str) -> gr.HTML:
    script = constants + script_of(f"{elem_id.replace('-', '_')}.js")
    return gr.HTML({}, html_template=template, js_on_load=script, elem_id=elem_id, apply_default_css=False)


def _result() -> Html:
    quantities = (
        tag(
            "label",
            tag("input", type="radio", name="sweep-quantity", value=quantity.name, checked=number == 0),
            tag("span", quantity.title),
        )
        for number, quantity in enumerate(QUANTITIES)
    )
    choice = tag("fieldset", tag("legend", "Drawn by", class_="sr-only"), *quantities, class_="sweep-quantity")
    progress = tag("div", tag("i"), class_="sweep-progress", aria_hidden="true")
    said = tag("p", class_="sweep-said", role="status")
    stale = tag("p", class_="sweep-stale", hidden=True)
    stage = tag(
        "div", tag("p", NOTHING_YET, class_="quiet-line"), class_="sweep-stage", data_quantity=QUANTITIES[0].name
    )
    return tag("div", tag("div", said, choice, class_="sweep-head"), progress, stale, stage, class_="sweep-whole")
