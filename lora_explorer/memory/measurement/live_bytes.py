"""Bytes alive over a run without any allocator: the sizes of storages as they are, which is what a CPU run holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.memory.measurement.figures import Figures
from lora_explorer.memory.plan.optimizers import StepEvents, trace_optimizer
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.traced_run import RecipeAdapter, trace_run
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything
from lora_explorer.memory.watching.trace import Phase, Trace
from lora_explorer.settings import Recipe


class LiveBytes:
    """A running sum of what is alive, and the most of it in each phase. held_bytes: what is there from the start."""

    def __init__(self, held_bytes: int) -> None:
        self._held_bytes = self._live_bytes = held_bytes
        self._peaks: dict[Phase, int] = {}

    def follow(self, trace: Trace) -> None:
        """A recorded stretch with its phases."""
        ends = [start for start, _ in trace.marks[1:]] + [len(trace.events)]
        for (start, segment), end in zip(trace.marks, ends, strict=True):
            self._add(trace.sizes_bytes, trace.events[start:end], segment.phase)

    def follow_update(self, part: StepEvents) -> None:
        """A part of the optimizer step."""
        self._add(part.sizes_bytes, part.events, "optimizer")

    def release(self, size_bytes: int) -> None:
        """What is let go between two steps."""
        self._live_bytes -= size_bytes

    def figures(self) -> Figures:
        """All that was seen."""
        return Figures(
            allocated_after_load_bytes=self._held_bytes,
            peak_forward_bytes=self._peaks["forward"],
            peak_backward_bytes=self._peaks["backward"],
            peak_optimizer_bytes=self._peaks["optimizer"],
            peak_allocated_bytes=max(self._peaks.values()),
        )

    def _add(self, sizes_bytes: Sequence[int], events: Iterable[int], phase: Phase) -> None:
        peak = max(self._peaks.get(phase, 0), self._live_bytes)
        for number in events:
            self._live_bytes += sizes_bytes[number] if number >= 0 else -sizes_bytes[~number]
            peak = max(peak, self._live_bytes)
        self._peaks[phase] = peak


def predict_host_step(skeleton: Skeleton, step: Step, recipe: Recipe) -> Figures:
    """Two optimizer steps on a CPU, from the trace. Raises MemoryUnknown and AdapterRefused."""
    adapter: Adapter = RecipeAdapter(recipe) if recipe.adapter else Everything()
    run = trace_run(skeleton, step, adapter)
    optimizer = trace_optimizer(step.optimizer, run.trained, clips_gradients=step.clips_gradients)
    live = LiveBytes(sum(resident.size_bytes for resident in run.residents))
    for update in (optimizer.first, optimizer.later):
        live.follow(run.trace)
        live.follow_update(optimizer.clipping)
        live.follow_update(update)
        live.release(_left_over_bytes(run.trace))
    return live.figures()


def _left_over_bytes(trace: Trace) -> int:
    """What a forward and backward pass leaves alive: gradients, the loss, and outputs that are kept."""
    return sum(trace.sizes_bytes[number] if number >= 0 else -trace.sizes_bytes[~number] for number in trace.events)
