"""A whole run as one list of births and deaths: loading, a first step that makes the optimizer states, and a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lora_explorer.memory.allocator import Block, CachingAllocator, OutOfMemory
from lora_explorer.memory.optimizers import OptimizerTrace, StepEvents
from lora_explorer.memory.step import Loading
from lora_explorer.memory.trace import Category, Phase, Resident, Segment, Trace

ROUNDING = "allocator rounding"
_BASE = ("base weights", "quantization state")


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
    _load(timeline, residents, loading)
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


def _load(timeline: Timeline, residents: Sequence[Resident], loading: Loading) -> None:
    """Tensors arrive in the checkpoint's type; each quantized one is packed beside the arriving one, which then goes.

    Other changes of type follow when all have arrived. "placed" is transformers 5 (core_model_loading.py): one large
    block is taken and let go first, so that the weights are cut from one segment, and they come in order of name.
    """
    timeline.mark(Segment("load", "embedding"))
    base = [resident for resident in residents if resident.category in _BASE]
    parameters = _by_parameter(base)
    if loading == "placed":
        timeline.died(timeline.born(sum(_warm_up_bytes(resident) for resident in base), "temporaries"))
        parameters.sort(key=lambda parts: _natural_key(parts[0].path))
    converted: dict[str, int] = {}
    for weight, *state in parameters:
        if weight.quantized:
            arrived = timeline.born(weight.arrives_bytes, "temporaries")
            for resident in (*state, weight):
                timeline.born(resident.size_bytes, resident.category)
            timeline.died(arrived)
        elif weight.arrives_bytes not in (0, weight.size_bytes):
            converted[weight.path] = timeline.born(weight.arrives_bytes, weight.category)
        else:
            timeline.born(weight.size_bytes, weight.category)
    for resident in base:
        if resident.path in converted and resident.category == "base weights":
            timeline.born(resident.size_bytes, resident.category)
            timeline.died(converted[resident.path])
    for resident in residents:
        if resident.category not in _BASE:
            timeline.born(resident.size_bytes, resident.category)


def _by_parameter(base: Sequence[Resident]) -> list[list[Resident]]:
    """A quantized weight together with its quantization state."""
    parts: list[list[Resident]] = []
    for resident in base:
        if resident.category == "quantization state":
            parts[-1].append(resident)
        else:
            parts.append([resident])
    return parts


def _warm_up_bytes(resident: Resident) -> int:
    if resident.category == "quantization state":
        return 0
    return resident.size_bytes if resident.quantized else resident.arrives_bytes or resident.size_bytes


def _natural_key(path: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in path.split(".")]


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
