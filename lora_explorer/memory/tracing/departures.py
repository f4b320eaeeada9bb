"""What is held on its way to the host dies layers later than it leaves, more of them than a shallow trace has.

So it is written down as if it died where it leaves, which every layer does alike; and once the events of all layers
are there, it is held again for as long as it would be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from lora_explorer.memory.watching.trace import Departure, Segment

Marks = tuple[tuple[int, Segment], ...]


class Untold(Exception):
    """How long something would live in the whole model cannot be told from a few layers."""


@dataclass(frozen=True)
class Leaving:
    """Events in which what leaves dies at once, right behind the birth and death of a signal.

    signals: what their numbers, from `first` on, stand for; the number of a departure counts from the one before.
    """

    events: tuple[int, ...]
    marks: Marks
    first: int
    signals: tuple[Departure, ...]
    left: frozenset[int]


@dataclass(frozen=True)
class Held:
    """Events without signals. storages: for each of its storages the number that it had among the others."""

    events: list[int]
    marks: Marks
    storages: list[int]


def leaving_at_once(events: Sequence[int], marks: Marks, departures: Sequence[Departure]) -> Leaving:
    """The events of a trace as if nothing was held on its way. Raises Untold."""
    _check_embeddings(events, marks, departures)
    deaths: dict[int, list[int]] = defaultdict(list)
    positions = set()
    for departure in departures:
        if departure.kind == "died":
            deaths[departure.number].append(events[departure.position])
            positions.add(departure.position)
    first = sum(event >= 0 for event in events)
    written: list[int] = []
    moved: list[tuple[int, Segment]] = []
    signals: list[Departure] = []
    counted = position = 0
    for departure in chain(departures, [Departure("died", len(events), len(marks))]):
        while position < departure.position or len(moved) < departure.segments:
            if len(moved) < departure.segments and marks[len(moved)][0] <= position:
                moved.append((len(written), marks[len(moved)][1]))
                continue
            if position not in positions:
                written.append(events[position])
            position += 1
        if departure.kind != "died":
            signal = first + len(signals)
            written += [signal, ~signal, *deaths[departure.number]]
            signals.append(departure._replace(number=departure.number - counted) if departure.number else departure)
            counted = departure.number or counted
    left = frozenset(~event for each in deaths.values() for event in each)
    return Leaving(tuple(written), tuple(moved), first, tuple(signals), left)


def _check_embeddings(events: Sequence[int], marks: Marks, departures: Sequence[Departure]) -> None:
    """The model itself may need what the embeddings made until it returns. So if that is let go behind a few layers,
    it need not be by then that it would be let go among many."""
    inside = [
        place for place, (_, segment) in enumerate(marks) if segment.phase == "forward" and segment.place == "layer"
    ]
    if not inside:
        raise Untold
    before = set(events[: marks[inside[0]][0]])
    for departure in departures:
        if departure.kind == "died" and departure.segments > inside[-1] + 1 and ~events[departure.position] in before:
            raise Untold


def held_again(events: Sequence[int], marks: Marks, sources: Sequence[int], leaving: Leaving) -> Held:
    """The events of a whole model as they are. sources: for each storage the one of `leaving` that it is like.

    Raises Untold.
    """
    storages = [storage for storage, source in enumerate(sources) if source < leaving.first]
    number_of = {storage: number for number, storage in enumerate(storages)}
    queue = _Queue()
    written: list[int] = []
    moved: list[tuple[int, Segment]] = []
    for position, event in enumerate(events):
        while len(moved) < len(marks) and marks[len(moved)][0] <= position:
            moved.append((len(written), marks[len(moved)][1]))
        storage = event if event >= 0 else ~event
        source = sources[storage]
        if source >= leaving.first:
            if event >= 0:
                written += (~number_of[each] for each in queue.let_go(leaving.signals[source - leaving.first]))
        elif event < 0 and source in leaving.left:
            queue.hold(storage)
        else:
            written.append(number_of[storage] if event >= 0 else ~number_of[storage])
    moved += ((len(written), segment) for _, segment in marks[len(moved) :])
    if queue.is_holding:
        raise Untold
    return Held(written, tuple(moved), storages)


class _Queue:
    """What is held on its way, by the numbers under which it left."""

    def __init__(self) -> None:
        self._count = 0
        self._held: dict[int, list[int]] = {}

    @property
    def is_holding(self) -> bool:
        return any(self._held.values())

    def hold(self, storage: int) -> None:
        """With what left last."""
        self._held.setdefault(self._count, []).append(storage)

    def let_go(self, signal: Departure) -> Iterator[int]:
        self._count += signal.number
        for number in list(self._held):
            if signal.kind == "all let go" or number <= self._count - signal.window:
                yield from self._held.pop(number)
