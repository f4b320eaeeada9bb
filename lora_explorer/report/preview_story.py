"""What a run has told so far: its events, sorted by what they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Any

from lora_explorer.preview import events as told
from lora_explorer.preview.events import Event

_PACE_STEPS = 8
_LOG_LINES = 200
_AXIS_ENDS = (200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class RunStory:
    """planned_steps: how many there will be in all; 0 before the run has begun. last: how it ended, if it did.

    begun: when the present stretch of work started, in seconds since the epoch; an extension starts another. log: what
    happened besides steps, and what is worth reading, a line each.
    """

    planned_steps: int = 0
    place: int | None = None
    device: str = ""
    notes: tuple[str, ...] = ()
    stage: str = ""
    begun: float | None = None
    steps: tuple[told.Step, ...] = ()
    evaluations: tuple[told.Evaluation, ...] = ()
    measured: told.Measured | None = None
    samples: tuple[told.Sample, ...] = ()
    log: tuple[str, ...] = ()
    last: told.Finished | told.Failed | told.Stopped | None = field(default=None)

    @property
    def status(self) -> str:
        """waiting, running, finished, failed or stopped."""
        if self.last is not None:
            return self.last.kind
        return "running" if self.begun is not None else "waiting"

    @property
    def is_over(self) -> bool:
        return self.last is not None

    @property
    def done_steps(self) -> int:
        return self.steps[-1].step if self.steps else 0

    @property
    def axis_steps(self) -> int:
        """Where the axis of a picture ends: at the last step, or in a long run not far from what is done."""
        enough = next((end for end in _AXIS_ENDS if end >= self.done_steps), self.done_steps)
        return max(min(enough, self.planned_steps), self.done_steps)

    @property
    def loss_means_something(self) -> bool:
        """Not with random weights, whose loss nobody writes down; a run without a step yet may still have one."""
        return not self.steps or any(step.loss is not None for step in self.steps)

    @property
    def seconds_a_step(self) -> float | None:
        """The pace of the last few steps; None before there are two."""
        times = [step.at for step in self.steps[-_PACE_STEPS - 1 :] if self.begun is None or step.at >= self.begun]
        gaps = [after - before for before, after in pairwise(times)]
        return median(gaps) if gaps else None

    @property
    def seconds_left(self) -> float | None:
        """Until the last step, at the present pace; None while that is not known or the run is over."""
        pace = self.seconds_a_step
        if pace is None or self.is_over:
            return None
        return pace * max(self.planned_steps - self.done_steps, 0)


def story_of(events: Iterable[Event], before: RunStory = RunStory()) -> RunStory:
    """The story so far, and what happened since. A step that was done again counts as it was done last."""
    story = before
    fresh: list[told.Step] = []
    for event in events:
        if isinstance(event, told.Step):
            fresh.append(event)
        if event.kind != "step" or story.stage:
            story = replace(story, **_CHANGES[event.kind](story, event))
    return replace(story, steps=_in_order((*story.steps, *fresh))) if fresh else story


def _begun(story: RunStory, event: told.Started) -> _Changes:
    facts = {"planned_steps": event.steps, "device": event.device, "notes": event.notes, "begun": _since(story, event)}
    return {**facts, "place": None, "last": None, "stage": ""}


def _at_work(story: RunStory, event: told.Stage) -> _Changes:
    """Also the first sign that a run that was over goes on."""
    now = replace(story, begun=_since(story, event))
    log = _logged(now, event, f"{event.message}…")
    return {"stage": event.message, "place": None, "last": None, "begun": now.begun, "log": log}


def _since(story: RunStory, event: Event) -> float:
    """When this stretch of work began: with this event, where none is under way."""
    goes_on = story.begun is not None and story.last is None
    return story.begun if goes_on and story.begun is not None else event.at


def _evaluated(story: RunStory, event: told.Evaluation) -> _Changes:
    line = f"After step {event.step:,}: loss {event.eval_loss:.4g} over the rows kept aside."
    return {
        "evaluations": (*(known for known in story.evaluations if known.step != event.step), event),
        "log": _logged(story, event, line),
    }


def _logged(story: RunStory, event: Event, line: str) -> tuple[str, ...]:
    """The newest lines, each with the seconds since the work began."""
    seconds = max(event.at - story.begun, 0.0) if story.begun is not None else 0.0
    return (*story.log, f"{seconds:6.1f} s  {line}")[-_LOG_LINES:]


def _sampled(story: RunStory, event: told.Sample) -> _Changes:
    return {"samples": (*(known for known in story.samples if known.prompt != event.prompt), event)}


def _ended(story: RunStory, event: Event) -> _Changes:
    return {"last": event, "stage": "", "place": None, "log": _logged(story, event, f"{event.kind.capitalize()}.")}


_Changes = dict[str, Any]
_CHANGES: Mapping[str, Callable[[RunStory, Any], _Changes]] = {
    "waiting": lambda story, event: {"place": event.place, "last": None, "begun": None},
    "started": _begun,
    "stage": _at_work,
    "step": lambda story, event: {"stage": ""},
    "evaluation": _evaluated,
    "measured": lambda story, event: {"measured": event},
    "sample": _sampled,
    "log": lambda story, event: {"log": _logged(story, event, event.message)},
    "finished": _ended,
    "failed": _ended,
    "stopped": _ended,
}


def _in_order(steps: Iterable[told.Step]) -> tuple[told.Step, ...]:
    by_number = {step.step: step for step in steps}
    return tuple(by_number[number] for number in sorted(by_number))
