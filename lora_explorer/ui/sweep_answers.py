"""From what a visitor asks a sweep for to the points as they come, predicted where it does not slow the page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.errors import ExplorerError
from lora_explorer.report import sweep_panel
from lora_explorer.report.html import Html
from lora_explorer.report.sweep_curve import is_curves
from lora_explorer.settings import SETTINGS, Recipe
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.codec import Shown, to_shown
from lora_explorer.ui.draft import Draft, shown_by
from lora_explorer.ui.interests import Interests
from lora_explorer.ui.sweep_form import FIRST, SweepWish, sweep_form

if TYPE_CHECKING:
    from lora_explorer.exploration.sweep import Sweep, SweepPoint

Outputs = Any

MOST_POINTS, MOST_PUBLIC_POINTS = 1000, 240
_MOST_PUBLIC_SECONDS = 90.0
# A picture of many points takes longer to send and to draw, and is sent less often.
_LEAST_SECONDS, _SECONDS_A_POINT = 0.2, 0.002
NO_AXIS = "Choose a setting first."


@dataclass(frozen=True)
class SweepAnswers:
    """answers: who reads drafts and predicts changes in the background. public: fewer points, and not for ever."""

    answers: Answers
    public: bool = False
    newest: Interests = field(default_factory=Interests)

    def open(self, sent: Any) -> Outputs:
        """Output: the form with a first range in it, asked for when the tab is first in sight."""
        return {"form": sweep_form(), "proposed": [0, FIRST, _proposed(FIRST, Draft.from_page(sent))]}

    def propose(self, sent: Any, sent_form: Any) -> Outputs:
        """Output: the form's value with a range for the setting that was chosen."""
        wish, draft = SweepWish.from_page(sent_form), Draft.from_page(sent)
        kept = dict(sent_form) if isinstance(sent_form, Mapping) else {}
        if wish.about >= len(wish.axes):
            return gr.skip()
        name = wish.axes[wish.about][0]
        return kept | {"proposed": [wish.about, name, _proposed(name, draft)]}

    def stop(self, sent_form: Any, request: gr.Request | None = None) -> None:
        """No further point of the sweep that is named, unless another one was asked for since."""
        visitor, stopped = _visitor(request), SweepWish.from_page(sent_form).stopped
        if self.newest.holds(visitor, {"asked": stopped}):
            self.newest.note(visitor, {"stopped": stopped})

    def run(self, sent: Any, sent_form: Any, request: gr.Request | None = None) -> Iterator[Outputs]:
        """Output: the sweep, more each time, until it is whole, stopped, or another one is asked for.

        Of a visitor who leaves Gradio asks for no further output.
        """
        wish, draft, visitor = SweepWish.from_page(sent_form), Draft.from_page(sent), _visitor(request)
        self.newest.note(visitor, {"asked": wish.asked})
        yield {"asked": wish.asked, "state": "planning", "said": "Planning…"}
        names: tuple[str, ...] = ()
        try:
            question = self.answers.read(draft)
            axes = wish.axes_for(question.recipe)
            names = tuple(name for name, _ in axes)
            sweep = self._planned(draft, wish, axes)
            told = _Told(wish.asked, sweep, axes, draft)
            yield from self._streamed(told, visitor)
        except ExplorerError as error:
            yield _refused(wish.asked, error, names)

    def _planned(self, draft: Draft, wish: SweepWish, axes: Sequence[tuple[str, str]]) -> Sweep:
        """Raises ExplorerError with the name of the axis at fault."""
        from lora_explorer.errors import SweepRefused
        from lora_explorer.exploration.sweep import plan_in_order

        if not axes:
            raise SweepRefused(NO_AXIS)
        question = self.answers.read(draft)
        typed = [f"{name}={values}" if values.strip() else name for name, values in axes]
        sweep: Sweep = self.answers.memory_of_changes.ask(
            plan_in_order,
            question.recipe,
            question.base_model,
            typed,
            cards=wish.held_against(draft.held_against()),
            expandable_segments=draft.expandable_segments,
            access=self.answers.access,
            most_points=MOST_PUBLIC_POINTS if self.public else MOST_POINTS,
        )
        return sweep

    def _streamed(self, told: _Told, visitor: str) -> Iterator[Outputs]:
        from lora_explorer.exploration.prediction import predict
        from lora_explorer.exploration.sweep import run_sweep

        background = self.answers.memory_of_changes
        yield told.so_far()
        started = last = time.monotonic()
        for point in run_sweep(told.sweep, (lambda question: background.ask(predict, question),)):
            told.points.append(point)
            now = time.monotonic()
            if not self.newest.holds(visitor, {"asked": told.asked}):
                if self.newest.holds(visitor, {"stopped": told.asked}):
                    yield told.whole("stopped")
                return
            if self.public and now - started > _MOST_PUBLIC_SECONDS:
                yield told.whole("stopped")
                return
            if now - last > _LEAST_SECONDS + _SECONDS_A_POINT * len(told.points):
                last = now
                yield told.so_far()
        yield told.whole("done")


@dataclass
class _Told:
    """What the page is told of a sweep. axes: as they were typed; draft: from which it was asked.

    points: those there are. Words and cells are written once for each: a count must not wait for them.
    """

    asked: int
    sweep: Sweep
    axes: Sequence[tuple[str, str]]
    draft: Draft
    points: list[SweepPoint] = field(default_factory=list)
    _written: int = 0
    _parts: dict[str, Html] = field(default_factory=dict)
    _lines: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def so_far(self) -> dict[str, Any]:
        said = f"{len(self.points):,} of {self.sweep.size:,} points"
        return self._value() | {"state": "running", "said": said}

    def whole(self, state: str) -> dict[str, Any]:
        """With the table and where cards end, which only all points together say."""
        from lora_explorer.exploration.card_ends import where_cards_end

        sweep, points = self.sweep, self.points
        is_whole = len(points) == sweep.size
        ends = where_cards_end(sweep, points) if is_whole else ()
        value = self._value()
        value["parts"] |= sweep_panel.sweep_parts(sweep, points, ends)
        value["parts"] |= sweep_panel.closing_parts(sweep, points, ends, lambda point: _shown(point.changes))
        said = f"{sweep.size:,} points" if is_whole else f"Stopped after {len(points):,} of {sweep.size:,} points"
        return value | {"state": state, "said": said}

    def _value(self) -> dict[str, Any]:
        self._write()
        return {
            "asked": self.asked,
            **self._unchanging,
            # Gradio sends what differs from the value before, which must not change any more.
            "parts": self._parts | sweep_panel.sweep_scale(self.sweep, self.points),
            "told": dict(self._lines),
            "colours": dict(sweep_panel.sweep_colours(self.sweep, self.points)),
            "share": len(self.points) / self.sweep.size,
        }

    def _write(self) -> None:
        """The words and cells of the points that came since; curves are drawn anew."""
        new = self.points[self._written :]
        self._written = len(self.points)
        self._lines |= sweep_panel.told(self.sweep, new)
        self._parts |= sweep_panel.sweep_parts(self.sweep, self.points if is_curves(self.sweep) else new)

    @cached_property
    def _unchanging(self) -> dict[str, Any]:
        return {
            "axes": [self._typed(number) for number in range(len(self.axes))],
            "frame": sweep_panel.sweep_frame(self.sweep),
            "touches": [[_shown(choice.changes) for choice in axis.choices] for axis in self.sweep.axes],
            "opened": dict(shown_by(self.draft.opened.recipe)),
        }

    def _typed(self, number: int) -> tuple[str, str]:
        """A range as it was typed, or every choice that its emptiness stands for."""
        name, typed = self.axes[number]
        return name, typed if typed.strip() else ",".join(choice.name for choice in self.sweep.axes[number].choices)


def _shown(changes: Mapping[str, Any]) -> dict[str, Shown]:
    """What widgets hold once these changes are made."""
    return {name: to_shown(SETTINGS[name], value) for name, value in changes.items()}


def _proposed(name: str, draft: Draft) -> str:
    from lora_explorer.exploration.ready_sweeps import proposed_range

    try:
        return proposed_range(name, draft.recipe)
    except ExplorerError:
        # What is wrong with the settings is told there.
        return proposed_range(name, Recipe())


def _refused(asked: int, error: ExplorerError, names: Sequence[str]) -> dict[str, Any]:
    """The sentence at the field whose axis is at fault; beside the button where it is none of them."""
    finding = error.findings[0]
    # Where both are the same, the second one is too many.
    places = [str(number) for number, name in enumerate(names) if name == finding.setting]
    at = places[-1] if places else ""
    return {"asked": asked, "state": "refused", "said": "", "faults": {at: finding.message}}


def _visitor(request: gr.Request | None) -> str:
    return (request.session_hash if request else None) or ""
