"""The tab Compare, built and wired: pinned configurations side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lora_explorer.exploration.permalink import MOST_PINNED
from lora_explorer.report.comparison_start import nothing_pinned
from lora_explorer.report.html import tag
from lora_explorer.ui.comparison_answers import ComparisonAnswers
from lora_explorer.ui.layout import script_of
from lora_explorer.ui.pins import OPENED_JS


def build_comparison() -> gr.HTML:
    """Table and pictures, written by the server; its script takes over only what differs."""
    return gr.HTML(
        nothing_pinned(MOST_PINNED),
        html_template=tag("div", class_="comparison"),
        elem_id="comparison",
        apply_default_css=False,
        js_on_load=script_of("comparison.js"),
    )


def wire_comparison(
    tab: gr.Tab,
    parts: tuple[gr.HTML, gr.HTML],
    answers: ComparisonAnswers,
    live: dict[str, Any],
    *,
    asked: tuple[gr.HTML, gr.HTML],
) -> None:
    """parts: the pins, and what is shown of them. live: how the page asks. asked: desks of settings and previews."""
    pins, shown = parts
    sent = [pins, *asked]
    pins.table(answers.table, sent, shown, **live)
    pins.figures(answers.figures, sent, shown, **live | {"queue": True, "concurrency_limit": None})
    pins.name(answers.names, pins, pins, **live)
    pins.remember(answers.remember, asked[0], None, **live)
    tab.select(None, None, None, js=OPENED_JS)
