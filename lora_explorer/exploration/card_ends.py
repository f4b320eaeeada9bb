"""Where each card ends in a sweep: the largest value that still fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from lora_explorer.exploration.sweep import Sweep, SweepPoint


@dataclass(frozen=True)
class CardEnd:
    """The line of one card.

    largest: for each choice of the other axis the index of the last choice along `axis` that fits, None where none
    does; of one axis, a single entry. gaps: a smaller choice does not fit though a larger one does.
    """

    gpu: str
    axis: str
    largest: tuple[int | None, ...]
    gaps: bool

    @property
    def holds_something(self) -> bool:
        return any(index is not None for index in self.largest)


def where_cards_end(sweep: Sweep, points: Iterable[SweepPoint]) -> tuple[CardEnd, ...]:
    """One line for each card, along the first numeric axis; none where no axis has an order.

    points: those that there are so far.
    """
    along = next((number for number, axis in enumerate(sweep.axes) if axis.is_numeric), None)
    if along is None:
        return ()
    known = {point.at: point for point in points}
    return tuple(_end(card.name, sweep, along, known) for card in sweep.cards)


def _end(gpu: str, sweep: Sweep, along: int, known: Mapping[tuple[int, ...], SweepPoint]) -> CardEnd:
    fitting: dict[tuple[int, ...], list[bool]] = defaultdict(list)
    largest: dict[tuple[int, ...], int | None] = {}
    for at in sweep.places:
        line = (*at[:along], *at[along + 1 :])
        fits = _fits(known.get(at), gpu)
        largest.setdefault(line, None)
        if fits is not None:
            fitting[line].append(fits)
        if fits:
            largest[line] = at[along]
    gaps = any(not before and after for line in fitting.values() for before, after in pairwise(line))
    return CardEnd(gpu, sweep.axes[along].name, tuple(largest[line] for line in sorted(largest)), gaps)


def _fits(point: SweepPoint | None, gpu: str) -> bool | None:
    """None where it is not known."""
    fit = point.prediction.fit_on(gpu) if point else None
    return None if fit is None else fit.fits
