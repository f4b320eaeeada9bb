"""How much GPU memory a training run needs: a real step, traced without weights and replayed byte by byte.

Importing this package does not load torch; estimating does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.memory.cards import Card, cards, find_card
from lora_explorer.memory.result import CardFit, MemoryEstimate

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel
    from lora_explorer.settings import Recipe

__all__ = ["Card", "CardFit", "MemoryEstimate", "cards", "estimate_memory", "find_card"]


def estimate_memory(
    recipe: Recipe, base_model: BaseModel, *, card: Card | None = None, full_depth: bool = False
) -> MemoryEstimate:
    """See `lora_explorer.memory.estimate.estimate_memory`; torch is loaded at the first call."""
    from lora_explorer.memory import estimate

    return estimate.estimate_memory(recipe, base_model, card=card, full_depth=full_depth)
