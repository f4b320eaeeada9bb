"""A run as one list of births and deaths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from lora_explorer.memory.plan.optimizers import StepEvents
from lora_explorer.memory.watching.trace import Category, Segment, Trace, Whole

CATEGORIES: tuple[Category, ...] = get_args(Category)
_CODES = {category: code for code, category in enumerate(CATEGORIES)}


@dataclass(frozen=True)
class Part:
    """A stretch of births and deaths in arrays, quick to put behind others.

    sizes_bytes, codes: one entry a storage; a code is a place in CATEGORIES. events, marks, finish: as in Trace.
    emptied: positions in events before which `torch.cuda.empty_cache` is called.
    """

    sizes_bytes: Whole
    codes: Whole
    events: Whole
    marks: tuple[tuple[int, Segment], ...] = ()
    finish: tuple[int, ...] = ()
    emptied: tuple[int, ...] = ()


def part_of(events: Trace | StepEvents | Part) -> Part:
    """The same in arrays."""
    if isinstance(events, Part):
        return events
    part = Part(whole(events.sizes_bytes), _codes_of(events.categories), whole(events.events))
    if isinstance(events, StepEvents):
        return part
    return Part(part.sizes_bytes, part.codes, part.events, tuple(events.marks), tuple(events.finish))


def as_trace(part: Part) -> Trace:
    """The same in lists."""
    categories = [CATEGORIES[code] for code in part.codes.tolist()]
    return Trace(part.sizes_bytes.tolist(), categories, part.events.tolist(), part.marks, part.finish)


def whole(numbers: Sequence[int] | Whole) -> Whole:
    """Whole numbers in an array."""
    return np.asarray(numbers, np.int64)


def _codes_of(categories: Sequence[Category]) -> Whole:
    return whole([_CODES[category] for category in categories])


class Timeline:
    """Grows by single events and by whole parts.

    events: `i` is the birth of storage i, `~i` its death. marks: (position in events, segment beginning there).
    emptied: positions in events before which `torch.cuda.empty_cache` is called.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[int, Segment]] = []
        self.emptied: list[int] = []
        self._parts: list[Part] = []
        self._storages = 0
        self._positions = 0
        self._joined: Part | None = None
        self._forget()

    def born(self, size_bytes: int, category: Category) -> int:
        """Record a birth and return the number of the storage."""
        number = self._storages
        self._sizes.append(size_bytes)
        self._codes.append(_CODES[category])
        self._storages += 1
        self._happened(number)
        return number

    def died(self, number: int) -> None:
        """Record a death."""
        self._happened(~number)

    def all_died(self, numbers: Whole) -> None:
        """Record deaths, one after the other."""
        self._close()
        self._append(Part(whole([]), whole([]), ~numbers))
        self._positions += len(numbers)

    def mark(self, segment: Segment) -> None:
        """Begin a segment."""
        self.marks.append((self._positions, segment))

    def empty_cache(self) -> None:
        """Record a call of `torch.cuda.empty_cache`."""
        self.emptied.append(self._positions)

    def extend(self, events: Trace | StepEvents | Part) -> int:
        """Append the events of a part, whose storages are numbered on from here; returns the first number."""
        self._close()
        part, offset = part_of(events), self._storages
        self.marks += [(start + self._positions, segment) for start, segment in part.marks]
        self.emptied += [start + self._positions for start in part.emptied]
        self._append(Part(part.sizes_bytes, part.codes, _renumbered(part.events, offset)))
        self._storages += len(part.sizes_bytes)
        self._positions += len(part.events)
        return offset

    @property
    def sizes_bytes(self) -> Whole:
        """(storages,)"""
        return self.part.sizes_bytes

    @property
    def codes(self) -> Whole:
        """(storages,): for each its category's place in CATEGORIES."""
        return self.part.codes

    @property
    def categories(self) -> list[Category]:
        """One a storage."""
        return [CATEGORIES[code] for code in self.codes.tolist()]

    @property
    def events(self) -> Whole:
        """(events,)"""
        return self.part.events

    @property
    def part(self) -> Part:
        """Everything so far."""
        self._close()
        if self._joined is None:
            joined = (np.concatenate([getattr(part, name) for part in self._parts] or [whole([])]) for name in _ARRAYS)
            sizes, codes, events = joined
            self._joined = Part(sizes, codes, events, tuple(self.marks), (), tuple(self.emptied))
        return self._joined

    def _happened(self, event: int) -> None:
        self._events.append(event)
        self._positions += 1
        self._joined = None

    def _append(self, part: Part) -> None:
        self._parts.append(part)
        self._joined = None

    def _close(self) -> None:
        """Make a part of the single events."""
        if self._events:
            self._append(Part(whole(self._sizes), whole(self._codes), whole(self._events)))
            self._forget()

    def _forget(self) -> None:
        self._sizes: list[int] = []
        self._codes: list[int] = []
        self._events: list[int] = []


_ARRAYS = ("sizes_bytes", "codes", "events")


def _renumbered(events: Whole, offset: int) -> Whole:
    renumbered: Whole = np.where(events >= 0, events + offset, events - offset)
    return renumbered
