"""What the page shows of a run, and what is done with it: followed, stopped, extended, opened, restored, deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.errors import ExplorerError, PreviewRefused
from lora_explorer.preview.supervision.history import runs, title_of
from lora_explorer.preview.supervision.ownership import belongs_to, find_run
from lora_explorer.report import (
    loss_chart,
    notes,
    preview_charts,
    preview_memory,
    preview_plan,
    preview_progress,
    preview_samples,
    run_list,
)
from lora_explorer.report.html import Html, join
from lora_explorer.report.preview_story import RunStory
from lora_explorer.ui import opening
from lora_explorer.ui.adapter_file import AdapterFiles
from lora_explorer.ui.opened_file import OpenedFile
from lora_explorer.ui.preview_answers import PreviewAnswers
from lora_explorer.ui.preview_desk import Shown, Wish
from lora_explorer.ui.preview_faults import Faults
from lora_explorer.ui.preview_following import Following

if TYPE_CHECKING:
    from lora_explorer.preview.run_folder import RunFolder
    from lora_explorer.preview.supervision.queue import RunQueue

Outputs = Any
_PARTS = 13
"""Shown, timer, seven pictures, and the four buttons Stop, Download, Train on, Restore."""
_NEITHER = tuple(gr.skip() for _ in range(_PARTS))


@dataclass(frozen=True)
class RunAnswers:
    """before: what stands before a run. queue: who runs it. public: every visitor sees only runs of their own.

    make_ready: has the next run start sooner.
    """

    before: PreviewAnswers
    queue: RunQueue
    public: bool = False
    make_ready: Callable[[], None] = lambda: None
    following: Following = field(default_factory=Following)
    files: AdapterFiles = field(default_factory=AdapterFiles)

    def expect(self) -> None:
        """Somebody looks at what would run. A run that is under way keeps its cores and memory to itself."""
        if not self.queue.is_busy:
            self.make_ready()

    def start(self, sent_draft: Any, sent_wish: Any) -> Outputs:
        """Outputs: the plan, what is wrong, sentences at fields, Run anyway, sentences at the data, then the run."""
        return self._start(sent_draft, sent_wish, run_anyway=False)

    def start_anyway(self, sent_draft: Any, sent_wish: Any) -> Outputs:
        """Outputs as of `start`, of what would not fit."""
        return self._start(sent_draft, sent_wish, run_anyway=True)

    def _start(self, sent_draft: Any, sent_wish: Any, *, run_anyway: bool) -> Outputs:
        wish = Wish.from_page(sent_wish)
        try:
            request = self.before.request(sent_draft, wish, run_anyway=run_anyway)
            found = self.before.prepared(request)
            card = preview_plan.plan_card(found.plan, found.prediction, found.unknown, has_bundled=found.has_bundled)
            if not found.fits and not run_anyway:
                return card, Html(""), Html(""), gr.update(visible=True), gr.skip(), *_NEITHER
            self.before.check_data(request)
            self._check_turn(wish.owner)
            folder = self.queue.submit(request, wish.owner)
        except ExplorerError as error:
            faults = Faults(error.findings, wish.form)
            return gr.skip(), faults.listed(), faults.placed(), gr.skip(), gr.skip(), *_NEITHER
        return card, Html(""), Html(""), gr.update(visible=not found.fits), Html(""), *self._show(folder, Shown())

    def attach(self, sent_wish: Any) -> Outputs:
        """Outputs: the run. The one of this browser that waits or runs, else its newest; none changes nothing."""
        wish = Wish.from_page(sent_wish)
        folder = self._newest(wish.owner)
        return self._show(folder, Shown()) if folder else _NEITHER

    def follow(self, sent_wish: Any, sent_shown: Any) -> Outputs:
        """Outputs: the run, where it has told something new."""
        wish, shown = Wish.from_page(sent_wish), Shown.from_page(sent_shown)
        try:
            folder = self._visible(shown.run, wish.owner)
        except ExplorerError:
            return _nothing()
        return self._show(folder, shown)

    def open(self, sent_wish: Any) -> Outputs:
        """Outputs: what is wrong, then the run that was asked for."""
        wish = Wish.from_page(sent_wish)
        try:
            return Html(""), *self._show(self._visible(wish.asked, wish.owner), Shown())
        except ExplorerError as error:
            return notes.complaint(str(error)), *_NEITHER

    def stop(self, sent_wish: Any, sent_shown: Any) -> Outputs:
        """Outputs: what is wrong, then the run."""
        wish, shown = Wish.from_page(sent_wish), Shown.from_page(sent_shown)
        return self._done(wish, shown, lambda: self.queue.stop(shown.run, wish.owner))

    def extend(self, steps: float | None, sent_wish: Any, sent_shown: Any) -> Outputs:
        """Outputs: what is wrong, then the run, going on."""
        wish, shown = Wish.from_page(sent_wish), Shown.from_page(sent_shown)
        return self._done(wish, shown, lambda: self.queue.extend(shown.run, _whole(steps), wish.owner))

    def restore(self, sent_draft: Any, sent_wish: Any, sent_shown: Any) -> Outputs:
        """Outputs: what is wrong, then as `open_upload` after its first of what the run was started with."""
        wish, shown = Wish.from_page(sent_wish), Shown.from_page(sent_shown)
        try:
            text = self._visible(shown.run, wish.owner).request().text
        except (ExplorerError, KeyError, TypeError):
            return notes.complaint("The settings of this run cannot be read."), gr.skip(), *opening.untouched()
        return Html(""), *opening.opened(OpenedFile(text=text), sent_draft)

    def adapter(self, sent_wish: Any, sent_shown: Any) -> Outputs:
        """Outputs: what is wrong, and the adapter as one file."""
        wish, shown = Wish.from_page(sent_wish), Shown.from_page(sent_shown)
        try:
            return Html(""), self.files.packed(self._visible(shown.run, wish.owner))
        except ExplorerError as error:
            return notes.complaint(str(error)), gr.skip()

    def delete(self, run_id: str, owner: str) -> None:
        """Delete a run that this visitor sees: of others' only at home, and only one that is over.

        Raises PreviewRefused.
        """
        folder = self._visible(run_id, owner)
        is_over = self.following.story(folder)[0].is_over
        self.queue.delete(run_id, None if is_over and not self.public else owner)

    def _done(self, wish: Wish, shown: Shown, deed: Callable[[], object]) -> Outputs:
        try:
            self._visible(shown.run, wish.owner)
            deed()
            return Html(""), *self._show(self._visible(shown.run, wish.owner), Shown(shown.run, -1, shown.status))
        except ExplorerError as error:
            return notes.complaint(str(error)), *_NEITHER

    def _show(self, folder: RunFolder, shown: Shown) -> Outputs:
        """The run, where it has told more than the page shows."""
        story, seen = self.following.story(folder)
        rests = story.is_over and folder.worker() is None and self.queue.place(folder.id) is None
        status = story.status if rests or not story.is_over else "waiting"
        now = Shown(folder.id, seen, status)
        if now == shown:
            return _NEITHER
        changed = (now.run, now.status) != (shown.run, shown.status) or shown.seen < 0
        timer = gr.Timer(active=not rests) if changed else gr.skip()
        buttons = self._buttons(folder, story, rests=rests) if changed else (gr.skip(),) * 4
        return now.for_page(), timer, *_pictures(folder, story), *buttons

    def _buttons(self, folder: RunFolder, story: RunStory, *, rests: bool) -> Outputs:
        """Stop, Download, Train on, Restore."""
        has_adapter = rests and folder.adapter.is_dir()
        usable = (not rests, has_adapter, rests and bool(story.steps), True)
        return tuple(gr.update(interactive=each) for each in usable)

    def _check_turn(self, owner: str) -> None:
        """Of strangers each has one run at a time. Raises PreviewRefused."""
        newest = self._newest(owner) if self.public else None
        if newest is not None and not self.following.story(newest)[0].is_over:
            raise PreviewRefused("Your last run is not over yet; stop it, or wait for it.")

    def _newest(self, owner: str) -> RunFolder | None:
        own = [find_run(summary.id) for summary in runs(owner)] if owner else []
        own = [folder for folder in own if folder.read("owner")]
        busy = (folder for folder in own if not self.following.story(folder)[0].is_over)
        return next(busy, own[0] if own else None)

    def _visible(self, run_id: str, owner: str) -> RunFolder:
        """A run this visitor may see. Raises PreviewRefused, in the same words where there is none."""
        folder = find_run(run_id)
        if self.public and not (folder.read("owner") and belongs_to(folder, owner)):
            raise PreviewRefused("There is no such run; it may have been deleted.")
        return folder


def _pictures(folder: RunFolder, story: RunStory) -> tuple[Html, ...]:
    name = run_list.run_name(title_of(folder, story.steps), folder.id)
    return (
        preview_progress.progress(story, name),
        loss_chart.loss_chart(story),
        preview_charts.step_figures(story),
        join(preview_progress.run_notes(story), preview_progress.log_lines(story)),
        preview_memory.memory_outcome(story),
        preview_samples.samples(story),
        run_list.delete_button(folder.id) if story.is_over else Html(""),
    )


def _nothing() -> Outputs:
    """There is no run any more."""
    empty = RunStory()
    off = (gr.update(interactive=False),) * 4
    blank = (
        preview_progress.progress(None),
        loss_chart.loss_chart(empty),
        preview_charts.step_figures(empty),
        Html(""),
        preview_memory.memory_outcome(empty),
        preview_samples.samples(empty),
        Html(""),
    )
    return Shown().for_page(), gr.Timer(active=False), *blank, *off


def _whole(steps: float | None) -> int:
    if steps is None or steps != int(steps) or steps < 1:
        raise PreviewRefused("Train on for a whole number of steps, 1 or more.", setting="steps")
    return int(steps)
