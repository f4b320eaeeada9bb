"""PyTorch's CUDA caching allocator, replayed over births and deaths.

Facts from c10/cuda/CUDACachingAllocator and c10/core/AllocatorConfig (torch 2.13): sizes are rounded up to 512 bytes;
requests up to 1 MiB are cut from 2 MiB segments, larger ones below 10 MiB from 20 MiB segments, the rest from segments
rounded up to 2 MiB; the best fitting free block is taken, and split only when the remainder is at least 512 bytes
(small pool) or more than 1 MiB (large pool); free neighbours merge. When the device is full, segments that are wholly
free are given back and the request is tried once more.

With expandable segments each of the two pools is one segment that grows by pages of 2 or 20 MiB, every remainder of
512 bytes or more is split off, and what is given back are pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.watching.trace import Whole

if TYPE_CHECKING:
    from lora_explorer.memory.replay.replays import Script


KIB = 1024
MIB = 1024 * KIB
SMALLEST_BLOCK_BYTES = 512
SMALL_REQUEST_BYTES = 1 * MIB
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
OWN_SEGMENT_FROM_BYTES = 10 * MIB
SEGMENT_ROUNDING_BYTES = 2 * MIB

# Sums of sizes are kept in 64 bits.
UNLIMITED_BYTES = 1 << 62


@dataclass(frozen=True)
class Outcome:
    """How it ended on a device.

    peak_reserved_bytes: also between two events. returns: how often a full device was given cached segments back.
    failed_position: the event that did not fit, None where all did. failed_request_bytes: what it asked for.
    """

    peak_reserved_bytes: int
    returns: int
    failed_position: int | None = None
    failed_request_bytes: int = 0


@dataclass(frozen=True)
class Occupancy:
    """What the device held after each event that fitted.

    allocated_bytes: whole blocks, as `torch.cuda.memory_allocated` counts. reserved_bytes: segments.
    """

    allocated_bytes: Whole
    reserved_bytes: Whole
    outcome: Outcome


def occupy(
    sizes_bytes: Whole,
    events: Whole,
    *,
    capacity_bytes: int | None = None,
    expandable_segments: bool = False,
    emptied: Sequence[int] = (),
) -> Occupancy:
    """Run events through the allocator: `i` asks for sizes_bytes[i], `~i` lets it go.

    capacity_bytes: what the device has left for segments; None for a device that is never full.
    emptied: events before which `torch.cuda.empty_cache` is called, rising.
    Raises MemoryUnknown where the sizes together are more than can be counted.
    """
    # Compiling, or loading what was compiled, takes its time: not before it is needed.
    from lora_explorer.memory.replay.replays import Record, replay_events

    capacity = UNLIMITED_BYTES if capacity_bytes is None else capacity_bytes
    record = Record(np.empty(len(events), np.int64), np.empty(len(events), np.int64))
    script = _script(sizes_bytes, events, emptied)
    end, peak, returns = replay_events(script, record, capacity, expandable_segments)
    outcome = Outcome(peak, returns, None if end == len(events) else end, _request(sizes_bytes, events, end))
    return Occupancy(record.allocated[:end], record.reserved[:end], outcome)


def occupy_devices(
    sizes_bytes: Whole,
    events: Whole,
    unhindered: Occupancy,
    capacities_bytes: Sequence[int],
    *,
    expandable_segments: bool = False,
    emptied: Sequence[int] = (),
) -> list[Outcome]:
    """What `occupy` ends in on devices of several capacities, in a fraction of the time.

    unhindered: what `occupy` said of a device that is never full: until it reserves more than a smaller one has, both
    go through the same.
    """
    from lora_explorer.memory.replay.replays import replay_on_devices

    capacities = np.unique(np.array(capacities_bytes, np.int64))
    crossings = np.searchsorted(np.maximum.accumulate(unhindered.reserved_bytes), capacities, side="right")
    outcomes = np.empty((len(capacities), 3), np.int64)
    script = _script(sizes_bytes, events, emptied)
    replay_on_devices(script, capacities, crossings, expandable_segments, outcomes)
    of_capacity = {
        capacity: Outcome(peak, returns, None if end == len(events) else end, _request(sizes_bytes, events, end))
        for capacity, (end, peak, returns) in zip(capacities.tolist(), outcomes.tolist(), strict=True)
    }
    return [of_capacity[capacity] for capacity in capacities_bytes]


def _script(sizes_bytes: Whole, events: Whole, emptied: Sequence[int]) -> Script:
    from lora_explorer.memory.replay.replays import Script

    if float(sizes_bytes.sum(dtype=np.float64)) > UNLIMITED_BYTES / 4:
        raise MemoryUnknown("So many bytes cannot be counted: batch and length are too large.", setting="sequence_len")
    return Script(sizes_bytes, events, np.array([*emptied, len(events) + 1], np.int64))


def _request(sizes_bytes: Whole, events: Whole, position: int) -> int:
    return int(sizes_bytes[events[position]]) if position < len(events) else 0
