"""What a recipe comes to where no card is chosen yet: counts, memory, and the smallest common card that runs it."""

from __future__ import annotations

from dataclasses import replace

from lora_explorer.errors import AdapterRefused, InvalidSettings, MemoryUnknown
from lora_explorer.exploration.comparison import Figures, count_figures
from lora_explorer.exploration.prediction import Question
from lora_explorer.memory import CardFit, MemoryEstimate, estimate_memory, find_card

COMMON_CARDS = (
    "RTX 3070",
    "RTX 3080 10GB",
    "RTX 3060 12GB",
    "T4",
    "RTX 4060 Ti 16GB",
    "RTX 4080",
    "L4",
    "A10G",
    "RTX 3090",
    "RTX 4090",
    "RTX 5090",
    "A100 40GB SXM",
    "L40S",
    "RTX A6000",
    "A100 80GB SXM",
    "H100 80GB SXM",
    "H200 141GB",
    "B200",
)
"""What many people own, or can rent by the hour."""


def recipe_figures(question: Question) -> Figures:
    """Never raises for what a setting can do about; UnknownBaseModel where there is no such model.

    question: its cards are not looked at. The answer is held against the common card of the least memory that surely
    holds the run, else one that may; where no card does, its process_bytes are those without a limit.
    """
    # Not needed before something is asked, and heavy.
    from lora_explorer.adapters import plan_adapter
    from lora_explorer.base_models.skeleton import load_skeleton

    recipe, base_model, _, expandable_segments = question
    try:
        counted = count_figures(recipe, plan_adapter(recipe, load_skeleton(base_model)))
    except (InvalidSettings, AdapterRefused) as error:
        return Figures(problem=str(error))
    try:
        common = tuple(find_card(name) for name in COMMON_CARDS)
        estimate = estimate_memory(
            recipe, base_model, expandable_segments=expandable_segments, every_card=False, beside=common
        )
    except (MemoryUnknown, AdapterRefused) as error:
        return replace(counted, problem=str(error))
    smallest = _smallest(estimate)
    held_bytes = smallest.process_bytes if smallest and smallest.process_bytes else estimate.process_bytes
    return replace(counted, process_bytes=held_bytes, fit=smallest)


def _smallest(estimate: MemoryEstimate) -> CardFit | None:
    holding = [fit for fit in estimate.fits if fit.fits]
    return min(holding, key=lambda fit: (fit.verdict == "tight", fit.capacity_bytes), default=None)
