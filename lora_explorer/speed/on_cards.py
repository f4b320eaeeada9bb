"""The same run on one card after the other: all that hold it, or the one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_explorer.base_models import BaseModel
from lora_explorer.memory import Card, CardFit, cards, estimate_memory
from lora_explorer.settings import Recipe
from lora_explorer.speed.estimate import estimate_speed
from lora_explorer.speed.measured_efficiency import MeasuredEfficiency
from lora_explorer.speed.prices import Price, price_of
from lora_explorer.speed.result import RunEstimate, SpeedEstimate
from lora_explorer.speed.run_estimate import estimate_run
from lora_explorer.speed.run_length import Rows


@dataclass(frozen=True)
class CardTime:
    """fit: whether the card holds the run. speed: with the rows of the run. run: None where its length is unknown."""

    fit: CardFit
    speed: SpeedEstimate
    run: RunEstimate | None


def time_on_cards(
    recipe: Recipe,
    base_model: BaseModel,
    *,
    card: Card | None = None,
    rows: Rows | None = None,
    price: Price | None = None,
    measured: Mapping[str, MeasuredEfficiency] | None = None,
) -> tuple[CardTime, ...]:
    """For every card of presets/gpus.yml that holds the run, or for the given card whether it does or not.

    rows: None leaves hours and price out unless `max_steps` ends the run. price: of an hour on any of them, in place of
    those on file. measured: what previews found, by card. Raises what `estimate_speed` and `estimate_run` raise.
    """
    memory = estimate_memory(recipe, base_model, card=card, every_card=card is None)
    known = {each.name: each for each in cards()}
    asked = _Asked(recipe, base_model, rows, price, measured or {})
    return tuple(_time(asked, card or known[fit.gpu], fit) for fit in memory.fits if card is not None or fit.fits)


@dataclass(frozen=True)
class _Asked:
    recipe: Recipe
    base_model: BaseModel
    rows: Rows | None
    price: Price | None
    measured: Mapping[str, MeasuredEfficiency]


def _time(asked: _Asked, card: Card, fit: CardFit) -> CardTime:
    recipe, base_model, measured = asked.recipe, asked.base_model, asked.measured.get(card.name)
    ends = asked.rows is not None or (recipe.max_steps or 0) > 0
    if not ends:
        return CardTime(fit, estimate_speed(recipe, base_model, card=card, measured=measured), None)
    price = asked.price or price_of(card.name)
    run = estimate_run(recipe, base_model, card=card, rows=asked.rows, price=price, measured=measured)
    return CardTime(fit, run.speed, run)
