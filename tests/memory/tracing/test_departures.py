"""Leaving for the host at once, and held again: the same events as before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.memory.tracing.departures import Untold, held_again, leaving_at_once
from lora_explorer.memory.watching.trace import Departure, Segment

LAYERS = tuple(Segment("forward", "layer", layer) for layer in range(3))
Recorded = tuple[list[int], tuple[tuple[int, Segment], ...], list[Departure]]


def recorded(counted: Sequence[int], window: int, *, cleared: bool) -> Recorded:
    """A chain of births, each of which leaves under the next of some rising numbers; at the end all are let go."""
    events: list[int] = []
    marks = [(0, Segment("forward", "embedding"))]
    departures: list[Departure] = []
    held: dict[int, int] = {}

    def let_go(numbers: list[int]) -> None:
        for number in numbers:
            departures.append(Departure("died", len(events), len(marks), number))
            events.append(~held.pop(number))

    for storage, number in enumerate(counted):
        if storage % 4 == 1 and len(marks) < 4:
            marks.append((len(events), LAYERS[len(marks) - 1]))
        events.append(storage)
        departures.append(Departure("leaves", len(events), len(marks), number, window))
        let_go([older for older in held if older <= number - window])
        held[number] = storage
    if cleared:
        departures.append(Departure("all let go", len(events), len(marks)))
        let_go(list(held))
    return events, tuple(marks), departures


rising = st.lists(st.integers(1, 4), min_size=2, max_size=40).map(
    lambda steps: [sum(steps[: n + 1]) for n in range(len(steps))]
)


@given(rising, st.integers(1, 6))
def test_held_again_nothing_has_changed(counted: list[int], window: int) -> None:
    events, marks, departures = recorded(counted, window, cleared=True)
    embeddings = {0}
    if any(each.segments > len(marks) and ~events[each.position] in embeddings for each in departures):
        return
    at_once = leaving_at_once(events, marks, departures)
    assert len(at_once.events) == len(events) + 2 * sum(each.kind != "died" for each in departures)
    storages = len(counted) + len(at_once.signals)
    held = held_again(at_once.events, at_once.marks, range(storages), at_once)
    assert (held.events, held.marks, held.storages) == (events, marks, list(range(len(counted))))


def test_what_leaves_dies_right_behind_its_signal() -> None:
    events, marks, departures = recorded(range(1, 10), 3, cleared=True)
    at_once = leaving_at_once(events, marks, departures)
    assert at_once.events[:8] == (0, at_once.first, ~at_once.first, ~0, 1, at_once.first + 1, ~(at_once.first + 1), ~1)


def test_more_layers_hold_no_more() -> None:
    """A middle layer's events written three times: its storages still die three numbers later."""
    events, marks, departures = recorded(range(1, 4), 3, cleared=True)
    at_once = leaving_at_once(events, marks, departures)
    *chain, signal, dead = at_once.events
    one = chain[4:8]
    sources: list[int] = []
    written: list[int] = []
    number_of: dict[int, int] = {}
    for event in [*chain[:4], *one * 3, *chain[8:], signal, dead]:
        if event >= 0:
            number_of[event] = len(sources)
            sources.append(event)
            written.append(number_of[event])
        else:
            written.append(~number_of[~event])
    held = held_again(written, (), sources, at_once)
    assert held.events == [0, 1, 2, 3, ~0, 4, ~1, ~2, ~3, ~4]


def test_what_would_be_held_for_ever_is_refused() -> None:
    events, marks, departures = recorded(range(1, 10), 3, cleared=True)
    at_once = leaving_at_once(events, marks, departures)
    without_end = at_once.events[: at_once.events.index(at_once.first + len(at_once.signals) - 1)]
    with pytest.raises(Untold):
        held_again(without_end, at_once.marks, range(9 + len(at_once.signals)), at_once)


def test_embeddings_that_are_let_go_only_behind_the_layers_are_refused() -> None:
    events, marks, departures = recorded(range(1, 10), 20, cleared=False)
    marks = (*marks, (len(events), Segment("forward", "head")))
    departures.append(Departure("died", len(events), len(marks), 1))
    with pytest.raises(Untold):
        leaving_at_once([*events, ~0], marks, departures)
