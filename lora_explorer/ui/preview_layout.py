"""Where everything stands in the tabs Preview and History. Nothing is wired here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from lora_explorer.preview.data import BUILT_IN_SETS
from lora_explorer.preview.data.choice import TYPES
from lora_explorer.preview.data.files import SUFFIXES
from lora_explorer.report import (
    loss_chart,
    preview_charts,
    preview_memory,
    preview_plan,
    preview_progress,
    preview_samples,
)
from lora_explorer.report.html import Html, tag
from lora_explorer.report.preview_story import RunStory
from lora_explorer.ui.desk import tell
from lora_explorer.ui.layout import ASSETS, fragment, question
from lora_explorer.ui.number_field import number_field
from lora_explorer.ui.preview_desk import TOUCHED
from lora_explorer.ui.preview_form import FROM_HUB, FROM_UPLOAD, FROM_YAML, Form

_EXTRA_STEPS = 30
# A list that comes late must not undo what was picked meanwhile.
_LISTED_JS = 'watch("value", () => document.dispatchEvent(new CustomEvent("runs-listed")));'
_LOGGING = (("This page only", "none"), ("TensorBoard too", "tensorboard"), ("Trackio too", "trackio"))


@dataclass(frozen=True)
class StartCard:
    """What will run, and the buttons that start it. fields: by the names of what they hold of the form."""

    fields: Mapping[str, Component]
    upload: gr.UploadButton
    uploaded: gr.HTML
    offers: gr.HTML
    plan: gr.HTML
    problems: gr.HTML
    notes: gr.HTML
    start: gr.Button
    anyway: gr.Button
    data: gr.HTML
    data_notes: gr.HTML


@dataclass(frozen=True)
class RunPanels:
    """What a run shows, in the order in which handlers write it, then what can be done with it."""

    progress: gr.HTML
    loss: gr.HTML
    figures: gr.HTML
    log: gr.HTML
    memory: gr.HTML
    samples: gr.HTML
    delete: gr.HTML
    stop: gr.Button
    download: gr.Button
    extend: gr.Button
    restore: gr.Button
    extra: gr.Number
    complaint: gr.HTML
    file: gr.DownloadButton

    @property
    def pictures(self) -> list[gr.HTML]:
        return [self.progress, self.loss, self.figures, self.log, self.memory, self.samples, self.delete]

    @property
    def buttons(self) -> list[gr.Button]:
        return [self.stop, self.download, self.extend, self.restore]


@dataclass(frozen=True)
class HistoryPanels:
    runs: gr.HTML
    overlay: gr.HTML
    complaint: gr.HTML


def build_start(*, public: bool) -> StartCard:
    """The form and, beside it, the data as the model will see them."""
    with gr.Row(elem_classes="charts", elem_id="preview-before"):
        with gr.Column(elem_id="panel-preview", min_width=0):
            question("Does it learn, and does it fit?", "a real run of a few steps with these settings")
            fields, upload, uploaded, offers = _fields(public=public)
            with gr.Row(elem_id="preview-buttons"):
                start = gr.Button("Start", variant="primary", elem_id="preview-start", scale=0)
                anyway = gr.Button("Run anyway", elem_id="preview-anyway", visible=False, scale=0)
            problems = fragment(Html(""), "preview-problems")
            plan = fragment(tag("p", preview_plan.NOT_ASKED, class_="quiet-line"), "preview-plan-card")
            notes = _sentences("preview-notes")
        with gr.Column(elem_id="panel-preview-data", min_width=0):
            question("What will the model see?", "rows as tokens")
            data = fragment(Html(""), "preview-rows")
            data_notes = _sentences("preview-data-notes")
    return StartCard(fields, upload, uploaded, offers, plan, problems, notes, start, anyway, data, data_notes)


def _sentences(elem_id: str) -> gr.HTML:
    """Has no face: what it is sent goes to the fields at fault."""
    script = (ASSETS / "preview_notes.js").read_text(encoding="utf-8")
    return gr.HTML("", js_on_load=script, elem_id=elem_id, elem_classes="faceless", apply_default_css=False)


def _fields(*, public: bool) -> tuple[dict[str, Component], gr.UploadButton, gr.HTML, gr.HTML]:
    fields: dict[str, Component] = {}
    with gr.Column(elem_id="preview-fields"):
        fields["steps"] = number_field(
            "steps", Form().steps, (1, 200, 1), label="Steps", info="Optimizer steps of this run.", **_kind("steps")
        )
        fields["weights"] = _choice(
            "weights", "Weights", "Which weights are trained.", list(preview_plan.WEIGHT_LABELS)
        )
        offers = fragment(Html(""), "preview-offers")
        fields["data"] = _choice("data", "Data", "What it is trained on.", _data_choices(public=public))
        fields["dataset"] = _text("dataset", "Data set on the Hub", "Its id, owner/name.")
        upload, uploaded = _upload()
        with gr.Accordion("More choices", open=False, elem_classes="more"):
            types = [("The columns tell", ""), *((name, name) for name in TYPES)]
            fields["type"] = _choice(
                "type", "Type of data", "How a row of the Hub's data or of a file becomes text.", types
            )
            fields["sequence_len"] = _number(
                "sequence_len", "Row length", "Tokens at the most; empty: as set, or what the device can bear."
            )
            fields["micro_batch_size"] = _number(
                "micro_batch_size", "Rows at once", "Empty: as set, or what the device can bear.", "batch"
            )
            if not public:
                fields["logging"] = _choice(
                    "logging", "Logging", "Where else the curve goes, in the run's folder.", list(_LOGGING)
                )
    return fields, upload, uploaded, offers


def _data_choices(*, public: bool) -> list[tuple[str, str]]:
    built_in = [(label, name) for name, label in BUILT_IN_SETS.items()]
    hub = [] if public else [("A data set on the Hub", FROM_HUB)]
    return [*built_in, ("The YAML's datasets", FROM_YAML), *hub, ("A file of mine", FROM_UPLOAD)]


def _upload() -> tuple[gr.UploadButton, gr.HTML]:
    with gr.Row(elem_id="preview-upload-row"):
        button = gr.UploadButton(
            "Choose a file", file_types=list(SUFFIXES), type="filepath", size="sm", elem_id="preview-upload", scale=0
        )
        return button, fragment(tag("p", "JSONL, JSON, CSV or Parquet", class_="quiet-line"), "preview-uploaded")


def _kind(name: str, element: str = "", kind: str = "slider") -> dict[str, Any]:
    element = element or name.replace("_", "-")
    return {"elem_id": f"preview-{element}", "elem_classes": ["setting", f"setting-{kind}"], "by": TOUCHED}


def _choice(name: str, label: str, info: str, choices: list[tuple[str, str]]) -> gr.Dropdown:
    look = _kind(name, kind="choice")
    widget = gr.Dropdown(
        choices,
        value=getattr(Form(), name),
        label=label,
        info=info,
        elem_id=look["elem_id"],
        elem_classes=look["elem_classes"],
    )
    tell(name, widget, TOUCHED)
    return widget


def _text(name: str, label: str, info: str) -> gr.Textbox:
    look = _kind(name, kind="text")
    widget = gr.Textbox(
        "", label=label, info=info, max_lines=1, elem_id=look["elem_id"], elem_classes=look["elem_classes"]
    )
    tell(name, widget, TOUCHED)
    return widget


def _number(name: str, label: str, info: str, element: str = "") -> gr.HTML:
    return number_field(name, None, label=label, info=info, **_kind(name, element, "number"))


def build_run() -> RunPanels:
    """The run that is shown: progress and loss, the small pictures, then what it leaves."""
    with gr.Column(elem_id="panel-run", min_width=0):
        with gr.Row(elem_id="head-run"):
            question(loss_chart.LEARNING_ASKS, "")
            stop = gr.Button("Stop", size="sm", elem_id="preview-stop", interactive=False, scale=0)
        progress = fragment(preview_progress.progress(None), "run-progress")
        loss = fragment(loss_chart.loss_chart(RunStory()), "run-loss")
        figures = fragment(preview_charts.step_figures(RunStory()), "run-figures")
    with gr.Row(elem_classes="charts"):
        with gr.Column(elem_id="panel-run-memory", min_width=0):
            question("Did memory come out as predicted?", "tracked bytes of one step")
            memory = fragment(preview_memory.memory_outcome(RunStory()), "run-memory")
        with gr.Column(elem_id="panel-run-samples", min_width=0):
            question("What does it answer now?", "greedy, before and after")
            samples = fragment(preview_samples.samples(RunStory()), "run-samples")
    with gr.Column(elem_id="panel-run-after", min_width=0):
        question("What to do with it?", "the run and its adapter are kept until deleted")
        with gr.Row(elem_id="run-actions"):
            download = gr.Button("Download the adapter", size="sm", elem_id="preview-download", interactive=False)
            restore = gr.Button("Restore its settings", size="sm", elem_id="preview-restore", interactive=False)
            extra = gr.Number(
                _EXTRA_STEPS, label="More steps", container=False, elem_id="preview-extra", min_width=70, scale=0
            )
            extend = gr.Button("Train on", size="sm", elem_id="preview-extend", interactive=False)
            delete = fragment(Html(""), "run-delete")
        complaint = fragment(Html(""), "run-complaint")
        question("What did it say?", "notes and log")
        log = fragment(Html(""), "run-log")
    file = gr.DownloadButton("", elem_id="preview-file", elem_classes="faceless")
    buttons = (stop, download, extend, restore)
    return RunPanels(progress, loss, figures, log, memory, samples, delete, *buttons, extra, complaint, file)


def build_history() -> HistoryPanels:
    """Every kept run, and the curves of those that are picked."""
    with gr.Column(elem_id="panel-overlay", min_width=0):
        question(loss_chart.OVERLAY_ASKS, "pick up to 7 runs below")
        overlay = fragment(loss_chart.overlaid(()), "run-overlay")
    with gr.Column(elem_id="panel-history", min_width=0):
        question("Which runs are kept?", "newest first")
        complaint = fragment(Html(""), "history-complaint")
        runs = gr.HTML("", elem_id="history-runs", apply_default_css=False, js_on_load=_LISTED_JS)
    return HistoryPanels(runs, overlay, complaint)
