"""What the pictures of a sweep have in common: one SVG as wide as there is room, points that can be pressed, cards.

Places across are shares of the width, while heights and text are pixels, so that a wider page has a wider picture and
not larger letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lora_explorer.report.html import Html, tag
from lora_explorer.report.sweeps import axis_title

if TYPE_CHECKING:
    from lora_explorer.exploration.axes import Axis
    from lora_explorer.exploration.sweep import Sweep, SweepPoint

_LONGEST_LABEL = 22


class Margins(NamedTuple):
    """Pixels around the plot, where its labels stand."""

    left: int
    right: int
    top: int
    bottom: int


def picture(plot: Iterable[Html], margins: Margins, height: int, least_width: int, across: int, said: str) -> Html:
    """An SVG around a plot.

    least_width: of the plot, in pixels; where there is less room it is scrolled. across: the axis that goes sideways.
    """
    left, right, top, bottom = margins
    # The margins are padding: all shares of the width are of the plot alone.
    style = f"padding:{top}px {right}px {bottom}px {left}px;height:{height + top + bottom}px"
    return tag(
        "svg",
        *plot,
        class_="sweep-picture",
        style=f"{style};min-width:{least_width + left + right}px",
        role="group",
        data_across=across,
        aria_label=said,
    )


def titles_of(axes: Iterable[Axis]) -> str:
    """Rank (lora_r) by Targets (targets)."""
    return " by ".join(axis_title(axis) for axis in axes)


def name_of(at: Sequence[int]) -> str:
    """The place of a point as the page knows it."""
    return ",".join(str(index) for index in at)


def verdict_class(sweep: Sweep, point: SweepPoint) -> str:
    """Whether the first card holds it, as a class of the style sheet."""
    found = point.prediction
    if found.trainable_params is None:
        return "refused"
    fit = found.fit_on(sweep.cards[0].name) if sweep.cards else None
    return "unknown" if fit is None else "held" if fit.fits else "over"


def nothing_of(point: SweepPoint) -> str:
    """In place of a figure: what is refused, and what is not known."""
    return "×" if point.prediction.trainable_params is None else "?"


def end_class(sweep: Sweep, gpu: str) -> str:
    """Of the line of a card, which looks the same in every picture of a sweep."""
    number = next(number for number, card in enumerate(sweep.cards) if card.name == gpu)
    return f"card-end end-{number}"


def shortened(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
