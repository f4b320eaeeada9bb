"""Why the peak is what it is: when it comes, what is alive then, and how the step rises to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lora_explorer.memory.replay.timeline import Replay, parts_at
from lora_explorer.memory.result import (
    CurvePoint,
    LargeStorage,
    Moment,
    Part,
    Recomputation,
    in_parts,
    part_of_category,
)
from lora_explorer.memory.tracing.events import CATEGORIES, Timeline
from lora_explorer.memory.watching.trace import Segment

Whole = NDArray[np.int64]

LARGEST_LISTED = 6
_ACTIVATIONS = CATEGORIES.index("saved activations")


class Explanation(NamedTuple):
    """peak: when it comes. parts: of the peak, adding up to it. largest, curve: as in MemoryEstimate."""

    peak: Moment
    parts: tuple[tuple[Part, int], ...]
    largest: tuple[LargeStorage, ...]
    curve: tuple[CurvePoint, ...]


def explain(timeline: Timeline, replayed: Replay, num_layers: int) -> Explanation:
    """Explain the peak of a run that went through. num_layers: of the whole model."""
    stretches = Stretches(timeline, num_layers)
    position = replayed.peak_position
    return Explanation(
        peak=stretches.moment(position),
        parts=in_parts(parts_at(timeline, position, replayed.peak_allocated_bytes).items()),
        largest=_largest(timeline, position, stretches),
        curve=_curve(timeline, replayed, stretches),
    )


class Stretches:
    """The marked stretches of a timeline, by number and by the events in them."""

    def __init__(self, timeline: Timeline, num_layers: int) -> None:
        self._timeline = timeline
        self._num_layers = num_layers
        self._segments = [segment for _, segment in timeline.marks]
        self.steps = _steps(self._segments)
        self.starts = [start for start, _ in timeline.marks]
        self.ends = [*self.starts[1:], len(timeline.events)]

    def number_of(self, position: int) -> int:
        """Of the stretch that an event is in. Several may begin at one event: the last of them holds it."""
        return max(int(np.searchsorted(self.starts, position, side="right")) - 1, 0)

    def named(self, number: int, recomputation: Recomputation = "none") -> Moment:
        """A stretch as a moment of the run."""
        segment = self._segments[number]
        return Moment(segment.phase, segment.place, segment.layer, self._num_layers, self.steps[number], recomputation)

    def moment(self, position: int) -> Moment:
        """The moment just after an event."""
        number = self.number_of(position)
        return self.named(number, self._recomputation(number, position))

    def _recomputation(self, number: int, position: int) -> Recomputation:
        """In a backward pass nothing but a recomputation makes activations."""
        if self._segments[number].phase != "backward":
            return "none"
        if self._saved_between(position + 1, self.ends[number]):
            return "under way"
        return "made" if self._saved_between(self.starts[number], position + 1) else "none"

    def _saved_between(self, start: int, end: int) -> bool:
        events = self._timeline.events[start:end]
        return bool((self._timeline.codes[events[events >= 0]] == _ACTIVATIONS).any())


def _largest(timeline: Timeline, position: int, stretches: Stretches) -> tuple[LargeStorage, ...]:
    """The largest storages alive just after an event, those of one size and part together."""
    past = timeline.events[: position + 1]
    births = np.full(len(timeline.sizes_bytes), -1, np.int64)
    born = np.flatnonzero(past >= 0)
    births[past[born]] = born
    births[~past[past < 0]] = -1
    alive = np.flatnonzero(births >= 0)
    keys = list(zip(timeline.sizes_bytes[alive].tolist(), timeline.codes[alive].tolist(), strict=True))
    counts = Counter(keys)
    first = dict(zip(reversed(keys), births[alive][::-1].tolist(), strict=True))
    return tuple(
        LargeStorage(part_of_category(CATEGORIES[code]), size, counts[size, code], _made(stretches, first[size, code]))
        for size, code in sorted(counts, key=lambda key: (-key[0], key[1]))[:LARGEST_LISTED]
    )


def _made(stretches: Stretches, birth: int) -> Moment:
    return stretches.named(stretches.number_of(birth))


def _curve(timeline: Timeline, replayed: Replay, stretches: Stretches) -> tuple[CurvePoint, ...]:
    """Loading and one step, stretch by stretch: the step with the peak, or the second, when states are there."""
    wanted = stretches.steps[stretches.number_of(replayed.peak_position)] or max(stretches.steps)
    numbers = [number for number, step in enumerate(stretches.steps) if step in (0, wanted)]
    allocated = replayed.allocated_bytes
    highest = [_highest(allocated, stretches.starts[number], stretches.ends[number]) for number in numbers]
    alive = _alive_by_code(timeline, highest)
    points = []
    for number, position, column in zip(numbers, highest, alive.T.tolist(), strict=True):
        live_bytes = int(allocated[position])
        parts = dict(zip(CATEGORIES, column, strict=True)) | {"allocator rounding": live_bytes - sum(column)}
        points.append(CurvePoint(stretches.named(number), live_bytes, in_parts(parts.items())))
    return tuple(points)


def _highest(allocated: Whole, start: int, end: int) -> int:
    """The event of a stretch after which most is allocated; a stretch without events has what was before it."""
    return start + int(np.argmax(allocated[start:end])) if end > start else max(start - 1, 0)


def _alive_by_code(timeline: Timeline, positions: list[int]) -> Whole:
    """(categories, positions): bytes alive just after each of these events, which are in order."""
    events = timeline.events[: positions[-1] + 1]
    storages = np.where(events >= 0, events, ~events)
    signed = np.where(events >= 0, timeline.sizes_bytes[storages], -timeline.sizes_bytes[storages])
    # What happens between two of the events counts from the second one on.
    stretch = np.repeat(np.arange(len(positions)), np.diff([-1, *positions]))
    changes = np.zeros((len(CATEGORIES), len(positions)), np.int64)
    np.add.at(changes, (timeline.codes[storages], stretch), signed)
    return np.cumsum(changes, axis=1)


def _steps(segments: Iterable[Segment]) -> list[int]:
    """For each segment the step of the optimizer that it belongs to; loading is before the first."""
    steps: list[int] = []
    step, closed = 0, True
    for segment in segments:
        if segment.phase == "forward" and closed:
            step, closed = step + 1, False
        closed = closed or segment.phase == "optimizer"
        steps.append(step)
    return steps
