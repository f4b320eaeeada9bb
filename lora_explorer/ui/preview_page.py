"""The tabs Preview and History, wired: what happens when a run is asked for, and while it runs.

What only looks waits in no queue. What takes long has a line of its own: counts and estimates never wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from lora_explorer.preview.data.files import MOST_FILE_BYTES, MOST_PUBLIC_FILE_BYTES
from lora_explorer.ui import opening, preview_layout
from lora_explorer.ui.controls import Controls
from lora_explorer.ui.history_answers import HistoryAnswers
from lora_explorer.ui.preview_desk import OPENED_JS, READY_JS, build_preview_desk, build_shown
from lora_explorer.ui.run_answers import RunAnswers
from lora_explorer.ui.yaml_layout import YamlTab

POLL_SECONDS = 0.4
_LINE = "preview"
_AT_ONCE = 4
_TELL_KEPT_JS = """() => {
  const kept = document.querySelector("#preview-uploaded [data-kept]")?.dataset.kept;
  const detail = { name: "upload", value: kept ?? "" };
  if (kept) document.dispatchEvent(new CustomEvent("preview-touched", { detail }));
}"""
_GO_THERE_JS = """() => {
  const status = document.getElementById("preview-status")?.dataset.value;
  if (!["waiting", "running"].includes(status)) return;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  document.getElementById("panel-run")?.scrollIntoView({ block: "start", behavior });
}"""
_SAVE_JS = """() => setTimeout(() => {
  const link = document.querySelector("#preview-file a, a#preview-file");
  (link ?? document.querySelector("#preview-file"))?.click();
}, 150)"""


__all__ = ["READY_JS", "PreviewTabs", "build_desks", "wire_preview", "wire_restore"]


@dataclass(frozen=True)
class Desks:
    """What has no face. draft: of the settings. wish: of the next run. timer: ticks while a run is followed."""

    draft: gr.HTML
    wish: gr.HTML
    shown: gr.HTML
    timer: gr.Timer


@dataclass(frozen=True)
class PreviewTabs:
    """The parts that are wired to each other."""

    answers: RunAnswers
    desks: Desks
    card: preview_layout.StartCard
    run: preview_layout.RunPanels
    history: preview_layout.HistoryPanels

    @property
    def quick(self) -> dict[str, Any]:
        """How the page looks: at once, and nothing is told to be pending."""
        return {
            "queue": False,
            "trigger_mode": "always_last",
            "show_progress": "hidden",
            "api_visibility": "private",
        }

    @property
    def slow(self) -> dict[str, Any]:
        """How it asks for what takes long."""
        line = {"queue": True, "concurrency_id": _LINE, "concurrency_limit": _AT_ONCE}
        return self.quick | line

    @property
    def whole_run(self) -> list[Any]:
        """What a handler that shows a run writes to."""
        run = self.run
        return [self.desks.shown, self.desks.timer, *run.pictures, *run.buttons]


def build_desks(draft: gr.HTML, *, public: bool) -> Desks:
    """draft: the desk of the settings, which is asked with them."""
    most_file_bytes = MOST_PUBLIC_FILE_BYTES if public else MOST_FILE_BYTES
    return Desks(draft, build_preview_desk(most_file_bytes), build_shown(), gr.Timer(POLL_SECONDS, active=False))


def wire_preview(tabs: PreviewTabs, *, preview: gr.Tab, history: gr.Tab) -> None:
    """Wire everything but what restores settings. preview, history: the tabs themselves."""
    _wire_start(tabs)
    _wire_run(tabs)
    _wire_history(tabs, history)
    preview.select(None, None, None, js=OPENED_JS)


def wire_restore(tabs: PreviewTabs, yaml: YamlTab, controls: Controls) -> None:
    """The settings of a run come back into the page like a file that is opened."""
    opened = [yaml.file, yaml.editor, tabs.desks.draft, *controls.values()]
    asked = [tabs.desks.draft, tabs.desks.wish, tabs.desks.shown]
    tabs.run.restore.click(tabs.answers.restore, asked, [tabs.run.complaint, *opened], **tabs.quick)


def _arrived_js(element: str) -> str:
    return f'() => {{ document.getElementById("{element}")?.classList.remove("pending"); }}'


def _wire_start(tabs: PreviewTabs) -> None:
    card, answers, asked = tabs.card, tabs.answers, [tabs.desks.draft, tabs.desks.wish]
    said = [card.plan, card.problems, card.notes, card.anyway]
    planned = tabs.desks.wish.prepare(answers.before.prepare, asked, [card.offers, *said], **tabs.slow)
    planned.then(None, js=_arrived_js("preview-plan-card")).then(answers.expect, **tabs.quick)
    looked = tabs.desks.wish.prepare(answers.before.look, asked, [card.data, card.data_notes], **tabs.slow)
    looked.then(None, js=_arrived_js("preview-rows"))
    held = partial(answers.before.fields, tuple(card.fields))
    tabs.desks.wish.fill(held, tabs.desks.wish, list(card.fields.values()), **tabs.quick)
    once = tabs.slow | {"trigger_mode": "once"}
    started = card.start.click(answers.start, asked, [*said, card.data_notes, *tabs.whole_run], **once)
    anyway = card.anyway.click(answers.start_anyway, asked, [*said, card.data_notes, *tabs.whole_run], **once)
    for each in (started, anyway):
        each.then(None, js=_GO_THERE_JS)
    kept = card.upload.upload(
        answers.before.keep_file, [card.upload, tabs.desks.wish], [card.uploaded, card.data_notes], **tabs.slow
    )
    kept.then(None, js=_TELL_KEPT_JS).then(None, js=opening.FORGET_FILES_JS)


def _wire_run(tabs: PreviewTabs) -> None:
    run, answers, asked = tabs.run, tabs.answers, [tabs.desks.wish, tabs.desks.shown]
    shown = [run.complaint, *tabs.whole_run]
    tabs.desks.timer.tick(answers.follow, asked, tabs.whole_run, **tabs.quick | {"trigger_mode": "once"})
    tabs.desks.wish.attach(answers.attach, tabs.desks.wish, tabs.whole_run, **tabs.quick)
    tabs.desks.wish.open(answers.open, tabs.desks.wish, [tabs.history.complaint, *tabs.whole_run], **tabs.quick)
    run.stop.click(answers.stop, asked, shown, **tabs.quick | {"trigger_mode": "once"})
    run.extend.click(answers.extend, [run.extra, *asked], shown, **tabs.quick | {"trigger_mode": "once"})
    packed = run.download.click(answers.adapter, asked, [run.complaint, run.file], **tabs.slow)
    packed.then(None, js=_SAVE_JS)


def _wire_history(tabs: PreviewTabs, history: gr.Tab) -> None:
    answers, panels = HistoryAnswers(tabs.answers), tabs.history
    listed = [panels.complaint, panels.runs, panels.overlay]
    history.select(answers.listed, tabs.desks.wish, listed, **tabs.quick)
    tabs.desks.wish.overlay(answers.overlay, tabs.desks.wish, panels.overlay, **tabs.quick)
    asked = [tabs.desks.wish, tabs.desks.shown]
    tabs.desks.wish.remove(answers.remove, asked, [*listed, tabs.run.complaint, *tabs.whole_run], **tabs.quick)
