"""A whole run as one list of births and deaths: loading, a first step that makes the optimizer states, and a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_explorer.memory.allocator import Block, CachingAllocator, OutOfMemory
from lora_explorer.memory.events import Timeline
from lora_explorer.memory.loading import load
from lora_explorer.memory.optimizers import OptimizerTrace
from lora_explorer.memory.step import Loading
from lora_explorer.memory.trace import Phase, Resident, Segment, Trace

ROUNDING = "allocator rounding"


@dataclass(frozen=True)
class Replay:
    """What the allocator went through.

    peaks_bytes: most allocated in each phase. peak_position: the event at which most was allocated, over all phases.
    failed: the segment in which the device was full, None if all fitted.
    """

    after_load_bytes: int
    peaks_bytes: Mapping[Phase, int]
    peak_allocated_bytes: int
    peak_position: int
    peak_segment: Segment
    peak_reserved_bytes: int
    failed: Segment | None = None


def assemble(
    residents: Sequence[Resident], trace: Trace, optimizer: OptimizerTrace, *, loading: Loading, workspace_bytes: int
) -> Timeline:
    """Loading, then two steps. workspace_bytes: of one cuBLAS handle; forward and backward thread have one each."""
    timeline = Timeline()
    load(timeline, residents, loading)
    workspaces = _workspaces_at_first_use(trace, workspace_bytes)
    finished = set(trace.finish)
    gradients = [n for n, category in enumerate(trace.categories) if category == "gradients" and n not in finished]
    dead = {~number for number in trace.events if number < 0}
    for part, update in ((workspaces, optimizer.first), (trace, optimizer.later)):
        offset = timeline.extend(part)
        timeline.mark(Segment("optimizer", "head"))
        timeline.extend(optimizer.clipping)
        timeline.extend(update)
        for number in [*trace.finish, *(n for n in gradients if n not in dead)]:
            timeline.died(number + offset)
    return timeline


def replay(timeline: Timeline, capacity_bytes: int | None = None) -> Replay:
    """Run the timeline through the caching allocator of a device with this capacity, or of one that is never full."""
    allocator = CachingAllocator(capacity_bytes)
    blocks: list[Block | None] = [None] * len(timeline.sizes_bytes)
    peaks: dict[Phase, int] = {}
    highest, position, where = 0, 0, timeline.marks[0][1]
    after_load = 0
    ends = [start for start, _ in timeline.marks[1:]] + [len(timeline.events)]
    failed = None
    for (start, segment), end in zip(timeline.marks, ends, strict=True):
        try:
            peak, at = _replay_segment(timeline, allocator, blocks, start, end)
        except OutOfMemory:
            failed = segment
            break
        peaks[segment.phase] = max(peaks.get(segment.phase, 0), peak)
        if peak > highest:
            highest, position, where = peak, at, segment
        if segment.phase == "load":
            after_load = allocator.allocated_bytes
    return Replay(after_load, peaks, highest, position, where, allocator.peak_reserved_bytes, failed)


def parts_at(timeline: Timeline, position: int, allocated_bytes: int) -> dict[str, int]:
    """What is alive just after an event, by category; with the allocator's rounding it adds up to what is allocated."""
    alive: Counter[str] = Counter()
    for number in timeline.events[: position + 1]:
        storage = number if number >= 0 else ~number
        size = timeline.sizes_bytes[storage]
        alive[timeline.categories[storage]] += size if number >= 0 else -size
    alive[ROUNDING] = allocated_bytes - alive.total()
    return {name: size for name, size in alive.items() if size}


def _replay_segment(
    timeline: Timeline, allocator: CachingAllocator, blocks: list[Block | None], start: int, end: int
) -> tuple[int, int]:
    """The most that was allocated in a stretch of events, and at which event."""
    sizes, events = timeline.sizes_bytes, timeline.events
    peak, at = allocator.allocated_bytes, max(start - 1, 0)
    for position in range(start, end):
        number = events[position]
        if number >= 0:
            blocks[number] = allocator.allocate(sizes[number])
            if allocator.allocated_bytes > peak:
                peak, at = allocator.allocated_bytes, position
        else:
            block = blocks[~number]
            if block is not None:
                allocator.release(block)
                blocks[~number] = None
    return peak, at


def _workspaces_at_first_use(trace: Trace, workspace_bytes: int) -> Trace:
    """The first step with cuBLAS's workspaces: made at the first matrix product of each thread, and kept."""
    if not workspace_bytes:
        return trace
    backward = next((start for start, segment in trace.marks if segment.phase == "backward"), len(trace.events))
    count = len(trace.sizes_bytes)
    events = [count, *trace.events[:backward], count + 1, *trace.events[backward:]]
    marks = [(start + (start > 0) + (start > backward), segment) for start, segment in trace.marks]
    sizes = [*trace.sizes_bytes, workspace_bytes, workspace_bytes]
    return Trace(sizes, [*trace.categories, "workspaces", "workspaces"], events, marks, trace.finish)
