"""The other way round: for a configuration, the cards that run it, the smallest first."""

from __future__ import annotations

from dataclasses import dataclass

from lora_explorer.memory import Card, CardFit, MemoryEstimate, cards


@dataclass(frozen=True)
class CardOffer:
    """A card that holds the run, with what is left on it."""

    card: Card
    fit: CardFit


def offers_for(estimate: MemoryEstimate) -> tuple[CardOffer, ...]:
    """Every card that runs it: the smallest first, of equal ones that with the most to spare.

    estimate: with a verdict for every card.
    """
    by_name = {card.name: card for card in cards()}
    found = (CardOffer(by_name[fit.gpu], fit) for fit in estimate.fits if fit.fits)
    return tuple(sorted(found, key=lambda offer: (offer.card.memory_bytes, -offer.fit.headroom_bytes)))
