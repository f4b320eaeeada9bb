"""A whole run as one list of births and deaths: loading, a first step that makes the optimizer states, and a second."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from lora_explorer.memory.plan.optimizers import OptimizerTrace
from lora_explorer.memory.replay.allocator import Occupancy, occupy, occupy_devices
from lora_explorer.memory.tracing.events import CATEGORIES, Part, Timeline, part_of, whole
from lora_explorer.memory.watching.trace import Phase, Segment, Trace, Whole

ROUNDING = "allocator rounding"
# A product that adds a bias goes through cuBLASLt, which has a workspace of its own for each handle
# (aten/cuda/CublasHandlePool.cpp, parseCUDABlasLtWorkspaceSize).
BIASED_WORKSPACE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a run ended on a device.

    returns: how often a full device was given cached segments back, before it went on. failed: the segment in which it
    was full all the same, None if all fitted; failed_request_bytes: what was asked for there.
    """

    peak_reserved_bytes: int
    returns: int = 0
    failed: Segment | None = None
    failed_request_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Replay(Verdict):
    """What the allocator went through.

    peaks_bytes: most allocated in each phase. peak_position: the event at which most was allocated, over all phases.
    """

    after_load_bytes: int
    peaks_bytes: Mapping[Phase, int]
    peak_allocated_bytes: int
    peak_position: int
    occupancy: Occupancy = field(compare=False, repr=False)

    @property
    def allocated_bytes(self) -> Whole:
        """After each event that fitted."""
        return self.occupancy.allocated_bytes

    @property
    def reserved_bytes(self) -> Whole:
        """After each event that fitted."""
        return self.occupancy.reserved_bytes


class Found(NamedTuple):
    """What a step has beside its own births.

    workspace_bytes: of cuBLAS, 0 for none. biased_products: some products add a bias. gradients_bytes: of each gradient
    that earlier micro-batches have left, for this one to add to. batches_bytes: of the other micro-batches,
    for each tensor of a batch all of them together.
    """

    workspace_bytes: int
    biased_products: bool = False
    gradients_bytes: Sequence[int] = ()
    batches_bytes: Sequence[int] = ()

    @property
    def workspaces_bytes(self) -> list[int]:
        """Those of one thread."""
        biased = [BIASED_WORKSPACE_BYTES] if self.biased_products else []
        return [self.workspace_bytes, *biased] if self.workspace_bytes else []


def with_steps(timeline: Timeline, trace: Trace | Part, optimizer: OptimizerTrace, found: Found) -> Timeline:
    """A timeline that ends with loading, and two steps behind it."""
    step = part_of(trace)
    let_go = whole([*step.finish, *_gradients_left(step)])
    clipping = part_of(optimizer.clipping)
    for part, update in ((_with_workspaces(step, found.workspaces_bytes), optimizer.first), (step, optimizer.later)):
        timeline.mark(Segment("forward", "embedding"))
        others = [timeline.born(size_bytes, "saved activations") for size_bytes in found.batches_bytes]
        others += [timeline.born(size_bytes, "gradients") for size_bytes in found.gradients_bytes]
        offset = timeline.extend(part)
        timeline.mark(Segment("optimizer", "head"))
        timeline.extend(clipping)
        timeline.extend(update)
        timeline.all_died(whole([*others, *(let_go + offset)]))
    return timeline


def replay(timeline: Timeline, capacity_bytes: int | None = None, *, expandable_segments: bool = False) -> Replay:
    """Run the timeline through the caching allocator.

    capacity_bytes: what the device has left for it; None for a device that is never full.
    expandable_segments: as PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True sets it.
    """
    occupancy = occupy(
        timeline.sizes_bytes,
        timeline.events,
        capacity_bytes=capacity_bytes,
        expandable_segments=expandable_segments,
        emptied=timeline.emptied,
    )
    allocated = occupancy.allocated_bytes
    position = int(np.argmax(allocated)) if len(allocated) else 0
    outcome = occupancy.outcome
    return Replay(
        after_load_bytes=_after_load(timeline, allocated),
        peaks_bytes=_phase_peaks(timeline, allocated),
        peak_allocated_bytes=int(allocated[position]) if len(allocated) else 0,
        peak_position=position,
        peak_reserved_bytes=outcome.peak_reserved_bytes,
        returns=outcome.returns,
        failed=None if outcome.failed_position is None else _segment_at(timeline, outcome.failed_position),
        failed_request_bytes=outcome.failed_request_bytes,
        occupancy=occupancy,
    )


def replay_on_devices(
    timeline: Timeline, unhindered: Replay, capacities_bytes: Sequence[int], *, expandable_segments: bool = False
) -> list[Verdict]:
    """Whether and where the timeline fails on devices of these capacities, each as `replay` would find.

    unhindered: the replay of the same timeline on a device that is never full.
    """
    outcomes = occupy_devices(
        timeline.sizes_bytes,
        timeline.events,
        unhindered.occupancy,
        capacities_bytes,
        expandable_segments=expandable_segments,
        emptied=timeline.emptied,
    )
    return [
        Verdict(
            peak_reserved_bytes=outcome.peak_reserved_bytes,
            returns=outcome.returns,
            failed=None if outcome.failed_position is None else _segment_at(timeline, outcome.failed_position),
            failed_request_bytes=outcome.failed_request_bytes,
        )
        for outcome in outcomes
    ]


def parts_at(timeline: Timeline, position: int, allocated_bytes: int) -> dict[str, int]:
    """What is alive just after an event, by category; with the allocator's rounding it adds up to what is allocated."""
    events = timeline.events[: position + 1]
    storages = np.where(events >= 0, events, ~events)
    signed = np.where(events >= 0, timeline.sizes_bytes[storages], -timeline.sizes_bytes[storages])
    alive = np.zeros(len(CATEGORIES), np.int64)
    np.add.at(alive, timeline.codes[storages], signed)
    parts: dict[str, int] = dict(zip(CATEGORIES, alive.tolist(), strict=True))
    parts[ROUNDING] = allocated_bytes - sum(parts.values())
    return {name: size for name, size in parts.items() if size}


def _gradients_left(step: Part) -> list[int]:
    """Gradients that the optimizer sees: neither ended by the backward pass nor by what is let go after the step."""
    left = step.codes == CATEGORIES.index("gradients")
    left[~step.events[step.events < 0]] = False
    left[whole(step.finish)] = False
    gradients: list[int] = np.flatnonzero(left).tolist()
    return gradients


def _stretches(timeline: Timeline) -> Iterator[tuple[Phase, int, int]]:
    """Runs of segments of one phase: where they begin and end."""
    ends = [*(start for start, _ in timeline.marks[1:]), len(timeline.events)]
    spans = [(segment.phase, start, end) for (start, segment), end in zip(timeline.marks, ends, strict=True)]
    for phase, run in groupby(spans, key=lambda span: span[0]):
        inside = list(run)
        yield phase, inside[0][1], inside[-1][2]


def _phase_peaks(timeline: Timeline, allocated: Whole) -> dict[Phase, int]:
    """A phase begins with what the one before it left."""
    peaks: dict[Phase, int] = {}
    for phase, start, end in _stretches(timeline):
        seen = allocated[max(start - 1, 0) : end]
        if start <= len(allocated):
            peaks[phase] = max(peaks.get(phase, 0), int(seen.max()) if len(seen) else 0)
    return peaks


def _after_load(timeline: Timeline, allocated: Whole) -> int:
    ends = [end for phase, _, end in _stretches(timeline) if phase == "load"]
    return int(allocated[ends[-1] - 1]) if ends and 0 < ends[-1] <= len(allocated) else 0


def _segment_at(timeline: Timeline, position: int) -> Segment:
    # Several marks may begin at one event: the last of them holds it.
    return timeline.marks[max(bisect_right(timeline.marks, position, key=itemgetter(0)) - 1, 0)][1]


def _with_workspaces(step: Part, workspaces_bytes: Sequence[int]) -> Part:
    """The first step with cuBLAS's workspaces: made at the first matrix product of each thread, and kept."""
    kinds = len(workspaces_bytes)
    backward = next((start for start, segment in step.marks if segment.phase == "backward"), len(step.events))
    count = len(step.sizes_bytes)
    return Part(
        np.append(step.sizes_bytes, whole([*workspaces_bytes] * 2)),
        np.append(step.codes, whole([CATEGORIES.index("workspaces")] * 2 * kinds)),
        np.insert(step.events, [0] * kinds + [backward] * kinds, whole(range(count, count + 2 * kinds))),
        tuple((start + kinds * ((start > 0) + (start > backward)), segment) for start, segment in step.marks),
        step.finish,
    )
