"""A run as one list of births and deaths."""

from __future__ import annotations

from dataclasses import dataclass, field

from lora_explorer.memory.optimizers import StepEvents
from lora_explorer.memory.trace import Category, Segment, Trace


@dataclass
class Timeline:
    """events: `i` is the birth of storage i, `~i` its death. marks: (position in events, segment beginning there)."""

    sizes_bytes: list[int] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    marks: list[tuple[int, Segment]] = field(default_factory=list)

    def born(self, size_bytes: int, category: Category) -> int:
        """Record a birth and return the number of the storage."""
        number = len(self.sizes_bytes)
        self.sizes_bytes.append(size_bytes)
        self.categories.append(category)
        self.events.append(number)
        return number

    def died(self, number: int) -> None:
        """Record a death."""
        self.events.append(~number)

    def mark(self, segment: Segment) -> None:
        """Begin a segment."""
        self.marks.append((len(self.events), segment))

    def extend(self, part: Trace | StepEvents) -> int:
        """Append the events of a part, whose storages are numbered on from here; returns the first number."""
        offset = len(self.sizes_bytes)
        position = len(self.events)
        self.sizes_bytes.extend(part.sizes_bytes)
        self.categories.extend(part.categories)
        self.events.extend([number + offset if number >= 0 else number - offset for number in part.events])
        if isinstance(part, Trace):
            self.marks.extend((start + position, segment) for start, segment in part.marks)
        return offset
