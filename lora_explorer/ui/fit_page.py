"""The tab Fit, built and wired: does this card hold the run, what if not, and how long does it take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lora_explorer.memory import Card
from lora_explorer.report import fit_panel
from lora_explorer.report.html import Html, tag
from lora_explorer.ui.fit_answers import FitAnswers
from lora_explorer.ui.layout import fragment, script_of

OPENED_JS = '() => { setTimeout(() => document.dispatchEvent(new CustomEvent("fit-opened")), 60); }'
TOLD_JS = """
watch("value", () => {
  const { answered } = element.querySelector("[data-answered]")?.dataset ?? {};
  if (answered) document.dispatchEvent(new CustomEvent("fit-told", { detail: Number(answered) }));
});
"""
"""Tells which question an answer is of: one that comes late to an earlier question stays marked as old."""
_FIELDS = (
    ("rows", "Rows of the data set", "such as 52,000"),
    ("tokens", "Tokens of a row", "full rows"),
    ("price", "US dollars an hour", "none on file"),
)


@dataclass(frozen=True)
class FitTab:
    """chooser: the card, and who asks. help: what it makes of the run. cards: others. time: form, hours and price."""

    chooser: gr.HTML
    help: gr.HTML
    cards: gr.HTML
    time: gr.HTML


def build_fit(cards: Sequence[Card], card: Card) -> FitTab:
    """Nothing is asked before the tab is in sight."""
    names = json.dumps([one.name for one in cards])
    with gr.Column(elem_id="panel-fit", min_width=0):
        chooser = gr.HTML(
            {"asked": 0},
            html_template=_chooser(),
            elem_id="fit-chooser",
            apply_default_css=False,
            js_on_load=f"const CARDS = {names}, FIRST = {json.dumps(card.name)};\n{script_of('fit_chooser.js')}",
        )
        with gr.Row(elem_id="fit-columns", elem_classes="charts"):
            with gr.Column(min_width=0):
                answer = fragment(fit_panel.waiting(), "fit-help", script_of("kept_open.js") + TOLD_JS)
            with gr.Column(elem_id="fit-side", min_width=0):
                time = gr.HTML(
                    {},
                    html_template=_form(),
                    elem_id="fit-time",
                    apply_default_css=False,
                    js_on_load=script_of("fit_time.js"),
                )
                others = fragment(Html(""), "fit-others", script_of("kept_open.js"))
    return FitTab(chooser, answer, others, time)


def wire_fit(tab: gr.Tab, fit: FitTab, answers: FitAnswers, desk: gr.HTML, live: dict[str, Any]) -> None:
    """live: how the page asks."""
    slow = live | {"queue": True, "concurrency_limit": None}
    fit.chooser.ask(answers.help, [desk, fit.chooser], [fit.help, fit.cards], **slow)
    # Its answer takes the place of the question; a question that waited would go up as the answer to the one before.
    fit.time.ask(answers.time, [desk, fit.time], fit.time, **live | {"trigger_mode": "multiple"})
    tab.select(None, None, None, js=OPENED_JS)


def _chooser() -> Html:
    choice = tag("select", id="fit-card", aria_label="Card")
    press = tag("button", type="button", hidden=True, tabindex="-1", aria_hidden="true", class_="fit-press")
    return tag("div", tag("h2", "Does this run fit on ", choice, " ?"), press, class_="panel-title")


def _form() -> Html:
    title = tag("div", tag("h2", "How long does it take, and what does it cost?"), tag("span", "one GPU"),
                class_="panel-title")  # fmt: skip
    fields = (_field(name, label, hint) for name, label, hint in _FIELDS)
    return tag("section", title, tag("div", *fields, class_="fit-fields"), tag("div", class_="fit-said"),
               class_="fit-panel", aria_label="Time and price")  # fmt: skip


def _field(name: str, label: str, hint: str) -> Html:
    field = tag("input", type="text", inputmode="decimal", name=name, id=f"fit-{name}", placeholder=hint, maxlength=40,
                autocomplete="off", aria_describedby=f"fit-{name}-problem")  # fmt: skip
    problem = tag("p", class_="sentence", id=f"fit-{name}-problem", role="status", data_kind="error", hidden=True)
    return tag("div", tag("label", tag("span", label), field), problem, class_="fit-field")
