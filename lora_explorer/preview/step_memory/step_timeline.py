"""Memory of one training step from births and deaths of storages, the same sums for a watched and a traced one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lora_explorer.memory.measurement.figures import Figures
from lora_explorer.memory.plan.optimizers import StepEvents
from lora_explorer.memory.replay.timeline import parts_at
from lora_explorer.memory.result import in_parts
from lora_explorer.memory.tracing.events import Part, Timeline, whole
from lora_explorer.memory.watching.trace import Category, Phase, Resident, Segment, Whole


@dataclass(frozen=True)
class StepMemory:
    """figures: peaks of each phase. parts: what is alive at the highest of them, adding up to peak_allocated_bytes."""

    figures: Figures
    parts: tuple[tuple[str, int], ...]


class StepTimeline:
    """Everything that is alive over one optimizer step, in order."""

    def __init__(self) -> None:
        self._timeline = Timeline()
        self._held_bytes = 0
        self._timeline.mark(Segment("load", "embedding"))

    def hold(self, residents: Iterable[Resident]) -> None:
        """What the model holds once it is loaded."""
        for resident in residents:
            self._timeline.born(resident.size_bytes, resident.category)
            self._held_bytes += resident.size_bytes

    def find(self, sizes_bytes: Iterable[int], category: Category) -> None:
        """What earlier steps or micro-batches have left."""
        for size_bytes in sizes_bytes:
            self._timeline.born(size_bytes, category)

    def extend(self, part: Part, let_go: Sequence[int] = ()) -> None:
        """A stretch of the step. let_go: its storages that the loop drops when it is over."""
        offset = self._timeline.extend(part)
        self._timeline.mark(Segment("optimizer", "head"))
        self._timeline.all_died(whole(let_go) + offset)

    def update(self, optimizer: StepEvents) -> None:
        """A stretch of clipping or of the optimizer's own step."""
        self._timeline.extend(optimizer)

    def memory(self) -> StepMemory:
        """What the step came to."""
        live = self._live_bytes()
        position = int(np.argmax(live))
        peaks = self._peaks(live)
        figures = Figures(
            allocated_after_load_bytes=self._held_bytes,
            peak_forward_bytes=peaks["forward"],
            peak_backward_bytes=peaks["backward"],
            peak_optimizer_bytes=peaks["optimizer"],
            peak_allocated_bytes=int(live[position]),
        )
        return StepMemory(figures, in_parts(parts_at(self._timeline, position, int(live[position])).items()))

    def _live_bytes(self) -> Whole:
        events = self._timeline.events
        sizes = self._timeline.sizes_bytes[np.where(events >= 0, events, ~events)]
        live: Whole = np.cumsum(np.where(events >= 0, sizes, -sizes))
        return live

    def _peaks(self, live: Whole) -> dict[Phase, int]:
        """The most in each phase, which begins with what the one before it left."""
        marks = self._timeline.marks
        ends = [*(start for start, _ in marks[1:]), len(live)]
        peaks: dict[Phase, int] = {}
        for (start, segment), end in zip(marks, ends, strict=True):
            seen = live[max(start - 1, 0) : end]
            peaks[segment.phase] = max(peaks.get(segment.phase, 0), int(seen.max()) if len(seen) else 0)
        return peaks
