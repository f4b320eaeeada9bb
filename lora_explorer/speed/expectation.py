"""How much of its data sheet a card is expected to reach, and how far that may be off."""

from __future__ import annotations

from collections.abc import Mapping
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
from lora_explorer.speed.result import Origin, Range

# Products in half precision over products in float32, a little above two for what a data sheet rounds.
_HELD_BACK = 2.2


@dataclass(frozen=True)
class Expectation:
    """efficiency: the share of the data sheet. time: real time over the time at that share, at both ends.

    origin, words: where it is from, and how far such estimates were off.
    """

    efficiency: float
    time: Range
    origin: Origin
    words: str


def expectation_of(card: Card, measured: MeasuredEfficiency | None = None) -> Expectation:
    """From what was measured on this card here, else from public figures: of it, or of those like it."""
    if measured is not None and measured.gpu == card.name:
        return _measured(measured)
    if card.name in EFFICIENCIES:
        words = f"From public figures of {card.name}. {error_words(OF_KNOWN_CARDS)}"
        return Expectation(EFFICIENCIES[card.name], _time(OF_KNOWN_CARDS), "card", words)
    nearest = nearest_figures(card, EFFICIENCIES)
    *others, last = nearest
    whose = f"{', '.join(others)} and {last}" if others else last
    words = f"From public figures of {whose}, the nearest there are. {error_words(OF_OTHER_CARDS)}"
    return Expectation(median(nearest.values()), _time(OF_OTHER_CARDS), "others", words)


def nearest_figures(card: Card, known: Mapping[str, float]) -> Mapping[str, float]:
    """Efficiencies of the cards that are most like a card without one: of its generation and kind, or of its kind.

    known: by the names of presets/gpus.yml. A card's kind is whether its tensor cores are held to twice the rate of its
    other cores, as on desktop cards: such a rate is reached, a higher one is not.
    """
    table = {each.name: each for each in cards() if each.name in known}
    of_kind = {name: known[name] for name, each in table.items() if _is_held_back(each) is _is_held_back(card)}
    of_generation = {name: share for name, share in of_kind.items() if table[name].architecture == card.architecture}
    return of_generation or of_kind or known


def _is_held_back(card: Card) -> bool:
    return (card.bf16_tflops or 0) < _HELD_BACK * (card.fp32_tflops or 0)


def _measured(measured: MeasuredEfficiency) -> Expectation:
    """Here too another model or another step is as far off as public figures of one card are from each other."""
    low = min(measured.efficiency / measured.high, OF_KNOWN_CARDS.shortest)
    high = max(measured.efficiency / measured.low, OF_KNOWN_CARDS.longest)
    runs = "a preview" if measured.runs == 1 else f"{measured.runs:,} previews"
    words = f"From {measured.steps:,} steps of {runs} on this {measured.gpu}."
    return Expectation(measured.efficiency, Range(low, high), "previews", words)


def _time(error: SpeedError) -> Range:
    return Range(error.shortest, error.longest)


def error_words(error: SpeedError) -> str:
    """How far off such estimates were."""
    return (
        f"Estimates of cards {_WHOSE[error is OF_KNOWN_CARDS]} were {error.mean_percent:.0f} % off on average over "
        f"{error.figures} figures, {error.worst_percent:.0f} % at the worst; "
        f"ranges made without them held {error.held}."
    )


_WHOSE = {True: "that figures of other models are known of", False: "that no figures are known of"}
