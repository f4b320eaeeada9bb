"""Events played on the blocks of a heap: the two entrances into what is compiled.

It is compiled in the first run of a machine, which takes some seconds, and kept beside this file or in the user's
cache directory. Numba asks only whether this file has changed since: who changes blocks.py touches this one too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np

from lora_explorer.memory.replay.allocator import UNLIMITED_BYTES
from lora_explorer.memory.replay.blocks import (
    ALLOCATED,
    CAPACITY,
    COUNTS,
    NONE,
    PEAK_RESERVED,
    RESERVED,
    RETURNS,
    SIZE,
    allocate,
    compiled,
    copy_of,
    give_back,
    new_heap,
    set_free,
)
from lora_explorer.memory.watching.trace import Whole

Function = TypeVar("Function", bound=Callable[..., Any])


def _kept(function: Function) -> Function:
    """Compiled once a machine."""
    try:
        made: Any = numba.njit(cache=True)(function)
    except RuntimeError:  # Neither this folder nor the user's cache can be written: compiled anew in every process.
        made = numba.njit(function)
    kept: Function = made
    return kept


class Script(NamedTuple):
    """What is played. pauses: events before which the cache is emptied, rising; the last is behind all events."""

    sizes: Whole
    events: Whole
    pauses: Whole


class Record(NamedTuple):
    """What is written down after each event; of no length where nothing is."""

    allocated: Whole
    reserved: Whole


@_kept
def replay_events(script: Script, record: Record, capacity: int, expandable: bool) -> tuple[int, int, int]:  # noqa: FBT001 - for the compiler
    """Play a script on a device.

    Returns the number of events that fitted, the most ever reserved and how often memory was given back and retried.
    """
    heap = new_heap(len(script.sizes), capacity, expandable)
    holders = np.full(len(script.sizes), NONE)
    end = _play(heap, holders, script, record, 0, len(script.events))
    return end, heap[COUNTS, PEAK_RESERVED], heap[COUNTS, RETURNS]


@_kept
def replay_on_devices(
    script: Script,
    capacities: Whole,
    crossings: Whole,
    expandable: bool,  # noqa: FBT001 - for the compiler
    outcomes: Whole,
) -> None:
    """Play a script on several devices, each from where the ones before it were still alike.

    crossings: for each capacity, rising, the first event after which an endless device has reserved more.
    outcomes: (devices, 3), filled with what `replay_events` returns.
    """
    heap = new_heap(len(script.sizes), UNLIMITED_BYTES, expandable)
    holders = np.full(len(script.sizes), NONE)
    nothing = Record(np.empty(0, np.int64), np.empty(0, np.int64))
    start = 0
    for device in range(len(capacities)):
        _play(heap, holders, script, nothing, start, crossings[device])
        start = crossings[device]
        own = copy_of(heap)
        own[COUNTS, CAPACITY] = capacities[device]
        outcomes[device, 0] = _play(own, holders.copy(), script, nothing, start, len(script.events))
        outcomes[device, 1] = own[COUNTS, PEAK_RESERVED]
        outcomes[device, 2] = own[COUNTS, RETURNS]


@compiled
def _play(heap: Whole, holders: Whole, script: Script, record: Record, start: int, stop: int) -> int:
    """Play a stretch of events; returns the one that did not fit, or the end. holders: the block of each storage."""
    pause = np.searchsorted(script.pauses, start)
    for position in range(start, stop):
        while script.pauses[pause] == position:
            give_back(heap)
            pause += 1
        number = script.events[position]
        if number >= 0:
            holders[number] = allocate(heap, script.sizes[number])
            if holders[number] == NONE:
                return position
        elif holders[~number] != NONE:
            _release(heap, holders[~number])
            holders[~number] = NONE
        if len(record.allocated):
            record.allocated[position] = heap[COUNTS, ALLOCATED]
            record.reserved[position] = heap[COUNTS, RESERVED]
    return stop


@compiled
def _release(heap: Whole, block: int) -> None:
    """A taken block becomes free."""
    heap[COUNTS, ALLOCATED] -= heap[SIZE, block]
    set_free(heap, block)
