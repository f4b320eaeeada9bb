"""What a preview will need on the device that it is to run on, and whether there is as much.

Loading this module loads no torch; asking it something does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lora_explorer.memory.measurement.figures import Figures
    from lora_explorer.preview.plan import PreviewPlan

# Python with torch, transformers, PEFT and datasets loaded, and what the system's allocator does not give back.
PROCESS_BYTES = 1 << 30


class MicroBatch(NamedTuple):
    """What the model is given at once. is_padded: some of its tokens are only there to fill rows up."""

    rows: int
    tokens: int
    is_padded: bool = False

    @property
    def size(self) -> int:
        """Tokens in all rows."""
        return self.rows * self.tokens


@dataclass(frozen=True)
class Prediction:
    """Memory of a run before it starts, its longest rows taken to be as long as they may be.

    figures: bytes by the names of `memory.measurement.Figures`. parts: what is there at the peak, adding up to
    peak_allocated_bytes. needed_bytes: with the process itself. available_bytes: on the device, when it was asked.
    """

    figures: Mapping[str, int]
    parts: Mapping[str, int]
    needed_bytes: int
    available_bytes: int

    @property
    def fits(self) -> bool:
        return self.needed_bytes <= self.available_bytes

    def sentence(self) -> str:
        """Need and room."""
        need, room = self.needed_bytes / 2**30, self.available_bytes / 2**30
        if self.fits:
            return f"The run needs about {need:.2f} GiB, and {room:.2f} GiB are free."
        return f"The run would need about {need:.2f} GiB, and only {room:.2f} GiB are free."


def predict(plan: PreviewPlan) -> Prediction:
    """Trace the run's step, which takes about a second for a new model. Raises MemoryUnknown and AdapterRefused."""
    from lora_explorer.preview.step_memory.free_memory import available_bytes
    from lora_explorer.preview.step_memory.trainer_step import predict_largest_step

    memory = predict_largest_step(plan)
    most = plan.request.limits.memory_bytes
    available = available_bytes(plan.device)
    return Prediction(
        figures=dict(memory.figures.known),
        parts=dict(memory.parts),
        needed_bytes=_needed_bytes(memory.figures, plan),
        available_bytes=available if most is None or plan.device != "cpu" else min(available, most),
    )


def _needed_bytes(figures: Figures, plan: PreviewPlan) -> int:
    if figures.process_bytes is not None:
        return figures.process_bytes
    if plan.device == "mps":
        return figures.peak_allocated_bytes
    # While loading, the weights are there a second time: as they are read, and as the model holds them.
    return max(figures.peak_allocated_bytes, 2 * figures.allocated_after_load_bytes) + PROCESS_BYTES
