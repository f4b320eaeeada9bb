"""What one configuration comes to, to be held beside others: counts, memory by part, a card's verdict and speed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lora_explorer.errors import AdapterRefused, ExplorerError, InvalidSettings, MemoryUnknown
from lora_explorer.exploration.pace import Pace, pace_of
from lora_explorer.exploration.prediction import Question
from lora_explorer.memory import Card, CardFit, count_lower_bound, estimate_memory
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.base_models import BaseModel
    from lora_explorer.memory import MemoryEstimate
    from lora_explorer.memory.lower_bound import LowerBound

Parts = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Figures:
    """trainable_params, trainable_percent, adapter_file_bytes, scaling: None where that is not known, or not yet.

    process_bytes: at the peak, on the card or without a limit; None where the memory is not known, and then
    at_least_bytes may be, a lower bound. parts: add up to process_bytes. fit, pace: None without a card. problem: why
    something is not known.
    """

    trainable_params: int | None = None
    trainable_percent: float | None = None
    adapter_file_bytes: int | None = None
    scaling: float | None = None
    process_bytes: int | None = None
    parts: Parts = ()
    at_least_bytes: int | None = None
    fit: CardFit | None = None
    pace: Pace | None = None
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing more to come."""
        return bool(self.problem) or self.process_bytes is not None


def figures_of(question: Question) -> Figures:
    """All of them, on the first card. Never raises for what a setting can do about; else UnknownBaseModel."""
    # Not needed before something is asked, and heavy.
    from lora_explorer.adapters import plan_adapter
    from lora_explorer.base_models.skeleton import load_skeleton

    recipe, base_model, cards, expandable_segments = question
    card = cards[0] if cards else None
    try:
        counted = count_figures(recipe, plan_adapter(recipe, load_skeleton(base_model)))
    except (InvalidSettings, AdapterRefused) as error:
        return Figures(problem=str(error))
    try:
        estimate = estimate_memory(
            recipe, base_model, card=card, expandable_segments=expandable_segments, every_card=False
        )
    except (MemoryUnknown, AdapterRefused) as error:
        return without_memory(counted, str(error), _lower_bound(recipe, base_model, str(error), card))
    return with_memory(counted, estimate, card, pace_of(recipe, base_model, card))


def count_figures(recipe: Recipe, plan: AdapterPlan) -> Figures:
    """Those that are known as soon as the adapter is."""
    return Figures(
        trainable_params=plan.trainable_params,
        trainable_percent=plan.trainable_percent,
        adapter_file_bytes=plan.adapter_file_bytes,
        scaling=recipe.scaling if recipe.adapter else None,
    )


def with_memory(counted: Figures, estimate: MemoryEstimate, card: Card | None, pace: Pace | None = None) -> Figures:
    """The same with what the step needs: on the card what its process holds there, as the headline says."""
    fit = estimate.fit_on(card.name) if card else None
    process_bytes = estimate.process_bytes_on(fit)
    return replace(counted, process_bytes=process_bytes, parts=estimate.parts_on(fit), fit=fit, pace=pace)


def without_memory(counted: Figures, problem: str, bound: LowerBound | None) -> Figures:
    """The same where the step cannot be traced."""
    return replace(counted, problem=problem, at_least_bytes=bound.at_least_bytes if bound else None)


def _lower_bound(recipe: Recipe, base_model: BaseModel, reason: str, card: Card | None) -> LowerBound | None:
    try:
        return count_lower_bound(recipe, base_model, reason, card=card)
    except ExplorerError:
        # Not even that can be counted; the reason stands.
        return None
