"""What one configuration comes to: counts, memory, cards and speed, or the sentence that says why not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from lora_explorer.base_models import BaseModel
from lora_explorer.errors import AdapterRefused, InvalidSettings, MemoryUnknown
from lora_explorer.exploration.pace import Pace, pace_of
from lora_explorer.memory import Card, CardFit, estimate_memory
from lora_explorer.settings import Recipe


class Question(NamedTuple):
    """cards: the first one's kernels and context count; the run is held against each of them."""

    recipe: Recipe
    base_model: BaseModel
    cards: tuple[Card, ...] = ()
    expandable_segments: bool = True


@dataclass(frozen=True)
class Prediction:
    """trainable_params, adapter_file_bytes, scaling: None where the settings are refused.

    process_bytes: at the peak, on the first card or without a limit; None where the memory is not known. fits: one for
    each card. pace: on the first card. problem: why something is not known, setting: which one is at fault.
    """

    trainable_params: int | None = None
    adapter_file_bytes: int | None = None
    scaling: float | None = None
    process_bytes: int | None = None
    fits: tuple[CardFit, ...] = ()
    pace: Pace | None = None
    problem: str = ""
    setting: str = ""

    def fit_on(self, gpu: str) -> CardFit | None:
        """The verdict for a card by its name."""
        return next((fit for fit in self.fits if fit.gpu == gpu), None)


def predict(question: Question) -> Prediction:
    """Never raises for what a setting can do about; UnknownBaseModel where there is no such model."""
    counted = count(question)
    return counted if counted.problem else _with_memory(counted, question)


def count(question: Question) -> Prediction:
    """The part of it that takes milliseconds: what is trained, or why nothing is. Raises UnknownBaseModel."""
    # Not needed before something is asked, and heavy.
    from lora_explorer.adapters import plan_adapter
    from lora_explorer.base_models.skeleton import load_skeleton

    recipe = question.recipe
    try:
        plan = plan_adapter(recipe, load_skeleton(question.base_model))
    except (InvalidSettings, AdapterRefused) as error:
        return Prediction(problem=error.findings[0].message, setting=error.findings[0].setting)
    return Prediction(plan.trainable_params, plan.adapter_file_bytes, recipe.scaling if recipe.adapter else None)


def _with_memory(counted: Prediction, question: Question) -> Prediction:
    recipe, base_model, cards, expandable_segments = question
    card = cards[0] if cards else None
    try:
        estimate = estimate_memory(
            recipe,
            base_model,
            card=card,
            expandable_segments=expandable_segments,
            every_card=False,
            beside=cards[1:],
        )
    except (MemoryUnknown, AdapterRefused) as error:
        return replace(counted, problem=error.findings[0].message, setting=error.findings[0].setting)
    held = estimate.process_bytes_on(estimate.fit_on(card.name) if card else None)
    return replace(counted, process_bytes=held, fits=estimate.fits, pace=pace_of(recipe, base_model, card))
