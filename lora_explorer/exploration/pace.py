"""How fast a configuration trains: the one place where exploration asks for it."""

from __future__ import annotations

from typing import NamedTuple

from lora_explorer.base_models import BaseModel
from lora_explorer.errors import ExplorerError
from lora_explorer.memory import Card
from lora_explorer.settings import Recipe
from lora_explorer.speed import Range, estimate_speed


class Pace(NamedTuple):
    """Tokens a second. likely: from the slowest to the fastest; expected: what is counted on, inside."""

    likely: Range
    expected: float


def pace_of(recipe: Recipe, base_model: BaseModel, card: Card | None) -> Pace | None:
    """None without a card, and where no speed can be told."""
    if card is None:
        return None
    try:
        found = estimate_speed(recipe, base_model, card=card)
    except ExplorerError:
        return None
    return Pace(found.tokens_per_second, found.tokens_per_step / found.expected_step_seconds)
