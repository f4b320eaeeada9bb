"""How much GPU memory a training run needs: a real step, traced without weights and replayed byte by byte.

Importing this package does not load torch; estimating does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.memory.cards import Card, cards, find_card
from lora_explorer.memory.result import CardFit, MemoryEstimate

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel
    from lora_explorer.memory.lower_bound import LowerBound
    from lora_explorer.memory.plan.parallel_plan import ParallelPlan
    from lora_explorer.settings import Recipe

__all__ = ["Card", "CardFit", "MemoryEstimate", "cards", "count_lower_bound", "estimate_memory", "find_card"]


def estimate_memory(  # noqa: PLR0913 - every one of them moves bytes
    recipe: Recipe,
    base_model: BaseModel,
    *,
    card: Card | None = None,
    full_depth: bool = False,
    expandable_segments: bool = True,
    parallel: ParallelPlan | None = None,
    every_card: bool = True,
    beside: tuple[Card, ...] = (),
) -> MemoryEstimate:
    """See `lora_explorer.memory.estimate.estimate_memory`; torch is loaded at the first call."""
    from lora_explorer.memory import estimate

    return estimate.estimate_memory(
        recipe,
        base_model,
        card=card,
        full_depth=full_depth,
        expandable_segments=expandable_segments,
        parallel=parallel,
        every_card=every_card,
        beside=beside,
    )


def count_lower_bound(
    recipe: Recipe,
    base_model: BaseModel,
    reason: str,
    *,
    card: Card | None = None,
    parallel: ParallelPlan | None = None,
) -> LowerBound:
    """See `lora_explorer.memory.lower_bound.count_lower_bound`: for what `estimate_memory` does not know."""
    from lora_explorer.memory import lower_bound

    return lower_bound.count_lower_bound(recipe, base_model, reason, card=card, parallel=parallel)
