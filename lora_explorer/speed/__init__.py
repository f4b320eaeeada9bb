"""How long a training run takes and what it costs: the work of the traced step, at the rates of a card.

Importing this package does not load torch; estimating does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.speed.measured_efficiency import MeasuredEfficiency
from lora_explorer.speed.prices import Price, price_of
from lora_explorer.speed.result import Range, RunEstimate, SpeedEstimate
from lora_explorer.speed.run_length import Rows

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel
    from lora_explorer.memory import Card
    from lora_explorer.settings import Recipe

__all__ = [
    "MeasuredEfficiency",
    "Price",
    "Range",
    "Rows",
    "RunEstimate",
    "SpeedEstimate",
    "estimate_run",
    "estimate_speed",
    "price_of",
]


def estimate_speed(
    recipe: Recipe,
    base_model: BaseModel,
    *,
    card: Card,
    document_tokens: int | None = None,
    measured: MeasuredEfficiency | None = None,
) -> SpeedEstimate:
    """See `lora_explorer.speed.estimate.estimate_speed`; torch is loaded at the first call."""
    from lora_explorer.speed import estimate

    return estimate.estimate_speed(recipe, base_model, card=card, document_tokens=document_tokens, measured=measured)


def estimate_run(
    recipe: Recipe,
    base_model: BaseModel,
    *,
    card: Card,
    rows: Rows | None,
    price: Price | None = None,
    measured: MeasuredEfficiency | None = None,
) -> RunEstimate:
    """See `lora_explorer.speed.run_estimate.estimate_run`; torch is loaded at the first call."""
    from lora_explorer.speed import run_estimate

    return run_estimate.estimate_run(recipe, base_model, card=card, rows=rows, price=price, measured=measured)
