"""What a run tells while it runs: one JSON object a line, on disk and to whoever follows it.

Every event says when it was written (`at`, seconds since the epoch) and its kind under `event`. The last event of a
run is `finished`, `failed` or `stopped`; after an extension further ones follow.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Event:
    """at: seconds since the epoch."""

    kind: ClassVar[str]
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Waiting(Event):
    """place: 1 is next."""

    kind = "waiting"
    place: int


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The process is there. steps: those to be done when all goes well. notes: what is done otherwise than written."""

    kind = "started"
    run: str
    steps: int
    device: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage(Event):
    """What takes a while: a sentence without a full stop, such as `Loading the base model`."""

    kind = "stage"
    message: str


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """One optimizer step. loss: None where it would mean nothing, as with random weights.

    memory_bytes: on a GPU the most that PyTorch held allocated in the step, on a CPU the resident process.
    tokens: without padding. positions: with it, 0 where nobody counted.
    """

    kind = "step"
    step: int
    loss: float | None
    learning_rate: float
    tokens_per_second: float
    grad_norm: float | None
    memory_bytes: int
    tokens: int
    epoch: float
    positions: int = 0


@dataclass(frozen=True, kw_only=True)
class Evaluation(Event):
    """The loss over the rows kept aside, after this many steps."""

    kind = "evaluation"
    step: int
    eval_loss: float


@dataclass(frozen=True, kw_only=True)
class Measured(Event):
    """Memory of one step, measured, beside the same step predicted: byte figures by name, and parts at the peak."""

    kind = "measured"
    measured: dict[str, int]
    predicted: dict[str, int]
    predicted_parts: dict[str, int]
    measured_parts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Sample(Event):
    """What the model answers to a prompt, before training and after."""

    kind = "sample"
    prompt: str
    before: str
    after: str
    expected: str = ""


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """A line worth reading, such as a library's warning."""

    kind = "log"
    message: str


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    kind = "finished"
    steps: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """message: one sentence. suggestion: what to change, one sentence. setting: the key at fault, if one is."""

    kind = "failed"
    message: str
    suggestion: str = ""
    setting: str = ""


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """Somebody stopped it after this many steps.

    kept_steps: after which of them what was trained is kept, and an extension goes on; None where nobody looked.
    """

    kind = "stopped"
    steps: int
    kept_steps: int | None = None


KINDS: dict[str, type[Event]] = {
    each.kind: each
    for each in (Waiting, Started, Stage, Step, Evaluation, Measured, Sample, Log, Finished, Failed, Stopped)
}
LAST_KINDS = frozenset({"finished", "failed", "stopped"})


def to_line(event: Event) -> str:
    """One line of JSON, with its end. Numbers that are not finite become null, as JSON has none."""
    record = {"event": event.kind, **{name: _plain(value) for name, value in asdict(event).items()}}
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def from_line(line: str) -> Event | None:
    """The event of a line; None for one that was cut off or is of another version."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    known = KINDS.get(record.pop("event", "")) if isinstance(record, dict) else None
    if known is None:
        return None
    names = {each.name for each in fields(known)}
    try:
        return known(**{name: _read(value) for name, value in record.items() if name in names})
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0 else value


def _read(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
