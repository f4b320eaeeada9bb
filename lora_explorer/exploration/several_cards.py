"""The same run on several cards of one kind: a copy of the model on each, or the model shared among them."""

from __future__ import annotations

from dataclasses import dataclass

from lora_explorer.errors import MemoryUnknown
from lora_explorer.exploration.prediction import Question
from lora_explorer.memory import CardFit, estimate_memory
from lora_explorer.memory.plan.parallel import Sharding
from lora_explorer.memory.plan.parallel_plan import ParallelPlan


@dataclass(frozen=True)
class Together:
    """n_gpus: cards that train side by side. sharding: "none" for a copy on each, which needs the same on two or more.

    "full" as FSDP shares parameters, gradients and optimizer states.
    """

    n_gpus: int
    sharding: Sharding


WAYS = (Together(2, "none"), Together(2, "full"), Together(4, "full"), Together(8, "full"))


@dataclass(frozen=True)
class TogetherFit:
    """fit: what becomes of the run on each of the cards; None where that is not known, and reason says why."""

    together: Together
    fit: CardFit | None
    reason: str = ""


def fit_together(question: Question, together: Together) -> TogetherFit:
    """For the question's first card. Raises UnknownBaseModel, and AdapterRefused for what one card would not run."""
    recipe, base_model, (card, *_), segments = question
    plan = ParallelPlan(together.n_gpus, together.sharding)
    try:
        estimate = estimate_memory(
            recipe, base_model, card=card, expandable_segments=segments, parallel=plan, every_card=False
        )
    except MemoryUnknown as error:
        return TogetherFit(together, None, str(error))
    return TogetherFit(together, estimate.fit_on(card.name))
