"""What the command line asks of exploration, with the chatter of its libraries kept off stdout."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from lora_explorer.questions import quiet_libraries
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel
    from lora_explorer.exploration.advice import Advice
    from lora_explorer.exploration.card_offers import CardOffer
    from lora_explorer.exploration.comparison import Figures
    from lora_explorer.exploration.prediction import Prediction, Question
    from lora_explorer.exploration.search import Largest
    from lora_explorer.exploration.sweep import Sweep, SweepPoint
    from lora_explorer.memory import Card

# Measured by benchmarks/exploration.py on two cores; starting a process and loading its libraries takes a few seconds.
SECONDS_A_TRACE = 0.15
SECONDS_A_POINT = 0.02
WORTH_A_PROCESS_SECONDS = 12.0


def predict_quietly(question: Question) -> Prediction:
    """What one point of a sweep comes to. Raises UnknownBaseModel."""
    with quiet_libraries():
        from lora_explorer.exploration.prediction import predict

        return predict(question)


def planned_sweep(
    overs: Sequence[str], recipe: Recipe, base_model: BaseModel, *, cards: tuple[Card, ...], expandable_segments: bool
) -> Sweep:
    """overs: axes as they are typed. Raises SweepRefused, UnknownBaseModel."""
    with quiet_libraries():
        from lora_explorer.exploration.sweep import plan_sweep

        return plan_sweep(recipe, base_model, overs, cards=cards, expandable_segments=expandable_segments)


def swept(sweep: Sweep) -> Iterator[SweepPoint]:
    """Every point as it comes; with a second process beside this one where one alone would take long."""
    from lora_explorer.exploration.sweep import run_sweep

    with quiet_libraries():
        takes_long = sweep.traces * SECONDS_A_TRACE + sweep.size * SECONDS_A_POINT > WORTH_A_PROCESS_SECONDS
    if not takes_long or (os.cpu_count() or 1) < 2:
        yield from run_sweep(sweep, (predict_quietly,))
        return
    # A fork of a process with threads may stop for ever at a lock that another thread held.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:

        def predict_beside(question: Question) -> Prediction:
            return pool.submit(predict_quietly, question).result()

        yield from run_sweep(sweep, (predict_quietly, predict_beside))


def largest_values(
    recipe: Recipe, base_model: BaseModel, card: Card, *, expandable_segments: bool
) -> tuple[Largest, ...]:
    """The largest batch, length and rank that the card holds."""
    with quiet_libraries():
        from lora_explorer.exploration.search import find_all_largest

        return tuple(find_all_largest(recipe, base_model, card, expandable_segments=expandable_segments))


def advice(
    recipe: Recipe, base_model: BaseModel, card: Card, *, expandable_segments: bool
) -> tuple[tuple[Advice, ...], Advice | None]:
    """Single changes, ranked; and the cheapest few together, where the run does not fit and no single one is enough."""
    with quiet_libraries():
        from lora_explorer.exploration.advice import Situation, find_advice, find_combination, rank_advice

        situation = Situation(recipe, base_model, card, expandable_segments)
        single = rank_advice(find_advice(situation))
        is_enough = situation.fits or any(each.makes_fit for each in single)
        return single, None if is_enough else find_combination(situation)


def card_offers(recipe: Recipe, base_model: BaseModel, *, expandable_segments: bool) -> tuple[CardOffer, ...]:
    """Cards that hold the run as it is, the cheapest first. Raises what the estimate raises."""
    with quiet_libraries():
        from lora_explorer.exploration.card_offers import find_offers
        from lora_explorer.exploration.prediction import Question

        return find_offers(Question(recipe, base_model, (), expandable_segments))


def recipe_figures(recipe: Recipe, base_model: BaseModel) -> Figures:
    """What a recipe comes to where no card is chosen. Raises UnknownBaseModel."""
    with quiet_libraries():
        from lora_explorer.exploration.prediction import Question
        from lora_explorer.exploration.recipe_figures import recipe_figures

        return recipe_figures(Question(recipe, base_model))
