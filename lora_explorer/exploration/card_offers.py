"""The other way round: for a configuration, the cards that run it, the cheapest first."""

from __future__ import annotations

from dataclasses import dataclass

from lora_explorer.base_models import BaseModel
from lora_explorer.exploration.pace import pace_of
from lora_explorer.exploration.prediction import Question
from lora_explorer.memory import Card, CardFit, MemoryEstimate, cards, estimate_memory
from lora_explorer.settings import Recipe
from lora_explorer.speed import Price, price_of

_TOKENS = 1_000_000
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class CardOffer:
    """A card that holds the run, with what is left on it.

    price: on file for it, None where there is none. usd_per_million_tokens: US dollars at that price and the expected
    speed, None where one of them is not known.
    """

    card: Card
    fit: CardFit
    price: Price | None = None
    usd_per_million_tokens: float | None = None


def find_offers(question: Question) -> tuple[CardOffer, ...]:
    """The same for a question, whichever its own cards are. Raises what the estimate raises."""
    recipe, base_model, _, segments = question
    return offers_for(recipe, base_model, estimate_memory(recipe, base_model, expandable_segments=segments))


def offers_for(recipe: Recipe, base_model: BaseModel, estimate: MemoryEstimate) -> tuple[CardOffer, ...]:
    """Every card that runs it: the cheapest a token first, then the cheapest an hour, then the smallest.

    estimate: of the recipe, with a verdict for every card.
    """
    by_name = {card.name: card for card in cards()}
    found = [_offer(recipe, base_model, by_name[fit.gpu], fit) for fit in estimate.fits if fit.fits]
    return tuple(sorted(found, key=_order))


def _offer(recipe: Recipe, base_model: BaseModel, card: Card, fit: CardFit) -> CardOffer:
    price = price_of(card.name)
    pace = pace_of(recipe, base_model, card) if price is not None else None
    if price is None or pace is None:
        return CardOffer(card, fit, price)
    return CardOffer(card, fit, price, price.usd_per_hour * _TOKENS / (pace.expected * _SECONDS_PER_HOUR))


def _order(offer: CardOffer) -> tuple[float, ...]:
    """Of equal ones that with the most to spare."""
    size, spare = offer.card.memory_bytes, -offer.fit.headroom_bytes
    if offer.price is None:
        return 2, size, spare
    if offer.usd_per_million_tokens is None:
        return 1, offer.price.usd_per_hour, size, spare
    return 0, offer.usd_per_million_tokens, size, spare
