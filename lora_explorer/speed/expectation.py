"""How much of its data sheet a card is expected to reach, and how far that may be off."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from lora_explorer.memory import Card, cards
from lora_explorer.speed.measured_efficiency import MeasuredEfficiency
from lora_explorer.speed.measured_error import (
    EFFICIENCIES,
    OF_KNOWN_CARDS,
    OF_OTHER_CARDS,
    SpeedError,
)
from lora_explorer.speed.result import Range


@dataclass(frozen=True)
class Expectation:
    """efficiency: the share of the data sheet. time: real time over the time at that share, at both ends.

    words: a sentence on where it is from.
    """

    efficiency: float
    time: Range
    words: str


def expectation_of(card: Card, measured: MeasuredEfficiency | None = None) -> Expectation:
    """From what was measured on this card here, else from public figures: of it, its generation, or all others."""
    if measured is not None and measured.gpu == card.name:
        return _measured(measured)
    if card.name in EFFICIENCIES:
        words = f"From public figures of {card.name}. {_error_words(OF_KNOWN_CARDS, 'with other models')}"
        return Expectation(EFFICIENCIES[card.name], _time(OF_KNOWN_CARDS), words)
    alike = [share for gpu, share in EFFICIENCIES.items() if _generation(gpu) == card.architecture]
    origin = f"other {card.architecture} cards" if alike else "cards of other generations: there are none of its own"
    words = f"From public figures of {origin}. {_error_words(OF_OTHER_CARDS, 'of cards without figures')}"
    return Expectation(median(alike or EFFICIENCIES.values()), _time(OF_OTHER_CARDS), words)


def _measured(measured: MeasuredEfficiency) -> Expectation:
    """Here too another model or another step is as far off as public figures of one card are from each other."""
    low = min(measured.efficiency / measured.high, OF_KNOWN_CARDS.shortest)
    high = max(measured.efficiency / measured.low, OF_KNOWN_CARDS.longest)
    runs = "a preview" if measured.runs == 1 else f"{measured.runs:,} previews"
    words = f"From {measured.steps:,} steps of {runs} on this {measured.gpu}."
    return Expectation(measured.efficiency, Range(low, high), words)


def _time(error: SpeedError) -> Range:
    return Range(error.shortest, error.longest)


def _error_words(error: SpeedError, what: str) -> str:
    return (
        f"Estimates {what} were {error.mean_percent:.0f} % off on average over {error.figures} figures, "
        f"{error.worst_percent:.0f} % at the worst."
    )


def _generation(gpu: str) -> str:
    return next(card.architecture for card in cards() if card.name == gpu)
