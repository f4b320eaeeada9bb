"""What each way to train new tokens needs at the peak, traced as the recipe itself is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_explorer.errors import ExplorerError
from lora_explorer.memory.cards import Card
from lora_explorer.memory.savings import Estimate
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.adapters.new_tokens import NewTokensAdvice
    from lora_explorer.base_models import BaseModel
    from lora_explorer.memory.result import MemoryEstimate


@dataclass(frozen=True)
class Weight:
    """process_bytes: at the peak. more_bytes: than without new tokens. fits: on the chosen card; None without one.

    fits_without: whether the run fits there without new tokens.
    """

    process_bytes: int
    more_bytes: int
    fits: bool | None
    fits_without: bool | None


def weigh_ways(
    advice: NewTokensAdvice,
    base_model: BaseModel,
    estimate: Estimate,
    *,
    card: Card | None = None,
    expandable_segments: bool = True,
) -> Iterator[Weight | None]:
    """One weight for each way, as soon as it is traced; None for one that cannot be.

    Rows that new tokens add to the embedding are not in it: no config.json knows them.
    """

    def weighed(recipe: Recipe | None) -> MemoryEstimate | None:
        try:
            return estimate(recipe, base_model, card=card, expandable_segments=expandable_segments) if recipe else None
        except ExplorerError:
            # Said with the recipe's own figure; the other ways may be known.
            return None

    before = weighed(advice.plain)
    for way in advice.ways:
        after = weighed(way.recipe) if before else None
        yield _weight(before, after, card) if before and after else None


def _weight(before: MemoryEstimate, after: MemoryEstimate, card: Card | None) -> Weight:
    more_bytes = after.process_bytes - before.process_bytes
    return Weight(after.process_bytes, more_bytes, _fits(after, card), _fits(before, card))


def _fits(estimate: MemoryEstimate, card: Card | None) -> bool | None:
    return next((fit.fits for fit in estimate.fits if card and fit.gpu == card.name), None)
