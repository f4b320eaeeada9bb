"""What the page asks about a run before it starts: seconds of work, so never done where counts are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_explorer.errors import AdapterRefused, MemoryUnknown, PreviewRefused
from lora_explorer.preview.request import PreviewRequest, Weights

if TYPE_CHECKING:
    from lora_explorer.preview.data import DataTable
    from lora_explorer.preview.plan import PreviewPlan
    from lora_explorer.preview.step_memory.prediction import Prediction

_KINDS: tuple[Weights, ...] = ("own", "bundled", "shape")


@dataclass(frozen=True)
class Preparation:
    """What will run and what it will need.

    unknown: why nothing is predicted. has_bundled: whether the bundled model can be trained in place of random weights.
    """

    plan: PreviewPlan
    prediction: Prediction | None
    unknown: str = ""
    has_bundled: bool = False

    @property
    def fits(self) -> bool:
        """Also where nobody knows: then only the run itself can tell."""
        return self.prediction is None or self.prediction.fits


def prepare(request: PreviewRequest) -> Preparation:
    """Plan a run and predict its memory. Raises PreviewRefused, InvalidSettings."""
    from lora_explorer.preview.plan import plan_preview
    from lora_explorer.preview.step_memory.prediction import predict

    plan = plan_preview(request)
    has_bundled = plan.weights == "shape" and not _why_not(request, "bundled")
    try:
        return Preparation(plan, predict(plan), has_bundled=has_bundled)
    except (MemoryUnknown, AdapterRefused) as error:
        return Preparation(plan, None, str(error), has_bundled)


def look_at_data(request: PreviewRequest) -> tuple[DataTable, int]:
    """The rows as the run's model will see them, and the length in tokens at which they are cut.

    Raises PreviewRefused.
    """
    from lora_explorer.preview.data import describe, load_rows
    from lora_explorer.preview.models.model_loading import load_tokenizer
    from lora_explorer.preview.plan import plan_preview

    plan = plan_preview(request)
    rows = load_rows(request.data, access=request.access)
    return describe(rows, load_tokenizer(plan.source), plan.sequence_len, seed=plan.seed), plan.sequence_len


def weights_on_offer(request: PreviewRequest) -> tuple[tuple[Weights, str], ...]:
    """Each kind of weights, with a sentence where it cannot be had here."""
    return tuple((kind, _why_not(request, kind)) for kind in _KINDS)


def _why_not(request: PreviewRequest, kind: Weights) -> str:
    """A sentence where weights of this kind cannot be had; empty where they can."""
    from lora_explorer.preview.models.weights import find_weights

    try:
        find_weights(request.base_model, kind, access=request.access)
    except PreviewRefused as error:
        return str(error)
    return ""
