"""A sweep as curves over a numeric setting, or as bars where nothing has an order, with the lines where cards end.

Like the map it is one SVG as wide as there is room, drawn anew with the points that come; each quantity has a picture
of its own in it, of which the page shows one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.line_chart import round_heights
from lora_explorer.report.sweep_picture import (
    Margins,
    end_class,
    name_of,
    nothing_of,
    picture,
    shortened,
    titles_of,
    verdict_class,
)
from lora_explorer.report.sweep_quantities import MEMORY, QUANTITIES, Quantity, Scale
from lora_explorer.report.sweeps import axis_title

if TYPE_CHECKING:
    from lora_explorer.exploration.axes import Axis
    from lora_explorer.exploration.card_ends import CardEnd
    from lora_explorer.exploration.sweep import Sweep, SweepPoint

PLOT = "plot"
"""The one part of the frame."""
MOST_CURVES = 7
# More points stand too close to be told apart, and each is drawn for every quantity.
_MOST_POINTS = 150
_FEWEST_PLACES = 4

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 18, 30, 46
_HEIGHT = 270
_BAR, _BAR_LEFT = 34, 150
# From these ratios on numbers are told apart on a logarithmic axis only.
_LOGARITHMIC_PLACES_FROM, _LOGARITHMIC_FROM = 16, 50
# How far from the points a card may be and still have its line in the picture.
_CARD_BELOW, _CARD_ABOVE = 0.85, 1.4
_MARGIN, _LEAST_MARGIN = 0.08, 0.01
_FROM_ZERO_BELOW = 0.4
_LABEL_HEIGHT = 14


def is_curves(sweep: Sweep) -> bool:
    """Whether curves tell more than a map: over one setting, or over numbers for each of a few choices."""
    if len(sweep.axes) == 1:
        return True
    along, other = _along(sweep), _other(sweep)
    return (
        other is not None
        and not other.is_numeric
        and along.is_numeric
        and len(along.choices) >= _FEWEST_PLACES
        and len(other.choices) <= MOST_CURVES
        and sweep.size <= _MOST_POINTS
    )


def curve_frame(sweep: Sweep) -> Html:
    """The picture without a point."""
    is_bars = not _along(sweep).is_numeric
    height = _BAR * len(sweep.axes[0].choices) if is_bars else _HEIGHT
    margins = Margins(_BAR_LEFT if is_bars else _LEFT, _RIGHT, _TOP, _BOTTOM)
    axes = (axis for axis in (_along(sweep), _other(sweep)) if axis)
    return picture([tag("g", data_part=PLOT)], margins, height, 0, _places(sweep)[0], titles_of(axes))


def curve_legend(sweep: Sweep) -> Html | None:
    """What each curve is; None where there is one."""
    other = _other(sweep)
    if other is None:
        return None
    entries = (tag("li", _swatch(number), tag("span", choice.label)) for number, choice in enumerate(other.choices))
    return tag("ul", *entries, class_="line-legend")


def curve_parts(sweep: Sweep, points: Sequence[SweepPoint], ends: Iterable[CardEnd] = ()) -> dict[str, Html]:
    """What there is so far. ends: of one curve, drawn where the quantity itself has no line for cards."""
    draw = _curves if _along(sweep).is_numeric else _bars
    drawn = _drawn_ends(sweep, ends)
    return {PLOT: join(*(tag("g", *draw(sweep, points, each, drawn), class_=f"of-{each.name}") for each in QUANTITIES))}


def _drawn_ends(sweep: Sweep, ends: Iterable[CardEnd]) -> list[CardEnd]:
    """Cards that hold some of the points and not others; of those with the same end the first."""
    along = {axis.name: len(axis.choices) for axis in sweep.axes}
    found: dict[tuple[int | None, ...], CardEnd] = {}
    for end in ends:
        last = along[end.axis] - 1
        if end.holds_something and any(index != last for index in end.largest):
            found.setdefault(end.largest, end)
    return list(found.values())


@dataclass(frozen=True)
class _Plot:
    """Where points stand: x as a share of the width, y in pixels from the top."""

    axis: Axis
    across: Scale
    up: Scale

    def x(self, index: int) -> str:
        return f"{100 * self.across.share(self.axis.choices[index].number or 0.0):.3f}%"

    def y(self, amount: float) -> float:
        return round(_HEIGHT * (1 - self.up.share(amount)), 1)


def _curves(sweep: Sweep, points: Sequence[SweepPoint], quantity: Quantity, ends: Sequence[CardEnd]) -> Iterator[Html]:
    axis = _along(sweep)
    amounts = [amount for point in points if (amount := quantity.amount(point.prediction)) is not None]
    plot = _Plot(axis, _across(axis), _up(amounts, sweep, quantity))
    yield from _grid(plot, quantity, has_points=bool(amounts))
    if quantity is MEMORY:
        yield from _capacities(sweep, plot)
    elif len(sweep.axes) == 1:
        yield from (_end(sweep, plot, end, number) for number, end in enumerate(ends))
    for number, line in enumerate(_lines(sweep, points)):
        known = [(point, amount) for point in line if (amount := quantity.amount(point.prediction)) is not None]
        yield tag("g", *_segments(sweep, plot, known), class_=f"sweep-line line-{number}")
        yield from (_point(sweep, plot, point, amount, number) for point, amount in known)


def _lines(sweep: Sweep, points: Sequence[SweepPoint]) -> list[list[SweepPoint]]:
    """The points of each curve in the order of the axis."""
    along, other = _places(sweep)
    ordered = sorted(points, key=lambda point: point.at[along])
    if other is None:
        return [ordered]
    count = len(sweep.axes[other].choices)
    return [[point for point in ordered if point.at[other] == number] for number in range(count)]


def _segments(sweep: Sweep, plot: _Plot, known: Sequence[tuple[SweepPoint, float]]) -> Iterator[Html]:
    along, _ = _places(sweep)
    for (start, low), (stop, high) in pairwise(known):
        yield tag("line", x1=plot.x(start.at[along]), y1=plot.y(low), x2=plot.x(stop.at[along]), y2=plot.y(high))


def _point(sweep: Sweep, plot: _Plot, point: SweepPoint, amount: float, number: int) -> Html:
    along, _ = _places(sweep)
    place = {"cx": plot.x(point.at[along]), "cy": plot.y(amount)}
    # The wider circle is easier to hit.
    circles = tag("circle", r=13, class_="reach", **place), tag("circle", r=5, class_="dot", **place)
    kind = f"sweep-point line-{number} {verdict_class(sweep, point)}"
    return tag("g", *circles, class_=kind, data_at=name_of(point.at))


def _grid(plot: _Plot, quantity: Quantity, *, has_points: bool) -> Iterator[Html]:
    yield tag("text", f"{quantity.title}, {quantity.unit}", x=8 - _LEFT, y=-16, class_="sweep-title")
    yield tag("line", x1=0, x2="100%", y1=_HEIGHT, y2=_HEIGHT, class_="sweep-axis-line")
    for tick in _ticks(plot.up) if has_points else ():
        y = plot.y(tick)
        yield tag("line", x1=0, x2="100%", y1=y, y2=y, class_="sweep-grid")
        yield tag("text", quantity.short(tick), x=-9, y=y + 4, class_="sweep-label end")
    for index in _labelled(plot):
        yield tag("text", plot.axis.choices[index].label, x=plot.x(index), y=_HEIGHT + 18, class_="sweep-label mid")
    yield tag("text", axis_title(plot.axis), x="50%", y=_HEIGHT + 38, class_="sweep-title mid")


def _ticks(scale: Scale) -> list[float]:
    if not scale.logarithmic:
        return round_heights(scale.low, scale.high, 5)
    powers = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
    found = [10.0**power * digit for power in powers for digit in (1, 2, 5)]
    inside = [tick for tick in found if scale.low <= tick <= scale.high]
    return inside if len(inside) <= 7 else [tick for tick in inside if f"{tick:e}".startswith("1")]


def _labelled(plot: _Plot) -> list[int]:
    """From the last to the first, those that do not touch the one before on a narrow screen."""
    found: list[int] = []
    free = math.inf
    for index in range(len(plot.axis.choices) - 1, -1, -1):
        choice = plot.axis.choices[index]
        share, half = plot.across.share(choice.number or 0.0), 0.012 * len(choice.label)
        if share + half < free:
            found.append(index)
            free = share - half - 0.015
    return found


def _across(axis: Axis) -> Scale:
    numbers = [choice.number for choice in axis.choices if choice.number is not None]
    low, high = min(numbers), max(numbers)
    spreads = len(numbers) >= _FEWEST_PLACES and low > 0 and high >= _LOGARITHMIC_PLACES_FROM * low
    return Scale(low, high, spreads)


def _up(amounts: Sequence[float], sweep: Sweep, quantity: Quantity) -> Scale:
    """From zero where that leaves the differences to be seen; logarithmic where the smallest lies on the ground."""
    most, least = max(amounts, default=1.0), min(amounts, default=0.0)
    if least > 0 and most >= _LOGARITHMIC_FROM * least:
        return Scale(least / 1.2, most * 1.2, True)
    sizes = (card.memory_bytes / 1024**3 for card in sweep.cards) if quantity is MEMORY else iter(())
    near = [size for size in sizes if _CARD_BELOW * least <= size <= _CARD_ABOVE * most]
    low, high = min((least, *near)), max((most, *near))
    margin = max(_MARGIN * (high - low), _LEAST_MARGIN * high, 1e-9)
    return Scale(low - margin if low > _FROM_ZERO_BELOW * high else 0.0, high + margin)


def _capacities(sweep: Sweep, plot: _Plot) -> Iterator[Html]:
    """One line for cards of about the same size, with their names."""
    groups: list[tuple[float, list[str]]] = []
    for card in sorted(sweep.cards, key=lambda card: -card.memory_bytes):
        size = card.memory_bytes / 1024**3
        if not plot.up.low <= size <= plot.up.high:
            continue
        y = plot.y(size)
        if groups and y - groups[-1][0] < _LABEL_HEIGHT:
            groups[-1][1].append(card.name)
        else:
            groups.append((y, [card.name]))
    for y, names in groups:
        line = tag("line", x1=0, x2="100%", y1=y, y2=y)
        yield tag("g", line, tag("text", ", ".join(names), x=6, y=y - 4), class_=end_class(sweep, names[0]))


def _end(sweep: Sweep, plot: _Plot, end: CardEnd, number: int) -> Html:
    """Upright, half way between the last value that fits and the next one."""
    (index,) = end.largest
    last = index or 0
    shares = [plot.across.share(plot.axis.choices[place].number or 0.0) for place in (last, last + 1)]
    share = sum(shares) / 2
    x = f"{100 * share:.3f}%"
    anchor = {"x": x, "dx": -5, "class_": "end"} if share > 0.5 else {"x": x, "dx": 5}
    name = tag("text", end.gpu, y=12 + number * _LABEL_HEIGHT, **anchor)
    return tag("g", tag("line", x1=x, x2=x, y1=0, y2=_HEIGHT), name, class_=f"card-end end-{number}")


def _bars(sweep: Sweep, points: Sequence[SweepPoint], quantity: Quantity, ends: Sequence[CardEnd]) -> Iterator[Html]:
    (axis,) = sweep.axes
    known = {point.at[0]: point for point in points}
    amounts = [quantity.amount(point.prediction) or 0.0 for point in points]
    most = max(amounts, default=0.0)
    cards = [card for card in sweep.cards if quantity is MEMORY and card.memory_bytes / 1024**3 <= _CARD_ABOVE * most]
    # Behind the longest bar there is room for its figure.
    scale = Scale(0.0, max(most, *(card.memory_bytes / 1024**3 for card in cards), 1e-9) * 1.2)
    bottom = _BAR * len(axis.choices)
    yield tag("text", f"{quantity.title}, {quantity.unit}", x=8 - _BAR_LEFT, y=-16, class_="sweep-title")
    # Behind the bars, whose figures they would strike through.
    for number, card in enumerate(sorted(cards, key=lambda card: card.memory_bytes)):
        x = f"{100 * scale.share(card.memory_bytes / 1024**3):.3f}%"
        line = tag("line", x1=x, x2=x, y1=0, y2=bottom + 4)
        name = tag("text", card.name, x=x, y=bottom + 16 + 13 * (number % 2), class_="mid")
        yield tag("g", line, name, class_=end_class(sweep, card.name))
    for row, choice in enumerate(axis.choices):
        yield tag("text", shortened(choice.label), x=-9, y=row * _BAR + _BAR // 2 + 4, class_="sweep-label end")
        if row in known:
            yield _bar(sweep, known[row], quantity, scale)


def _bar(sweep: Sweep, point: SweepPoint, quantity: Quantity, scale: Scale) -> Html:
    top = point.at[0] * _BAR
    amount = quantity.amount(point.prediction)
    share = 0.0 if amount is None else scale.share(amount)
    written = nothing_of(point) if amount is None else quantity.short(amount)
    reach = tag("rect", x=-8, y=top, width="100%", height=_BAR, class_="reach")
    bar = tag("rect", x=0, y=top + 7, width=f"{100 * share:.3f}%", height=_BAR - 14, rx=4, class_="dot")
    text = tag("text", written, x=f"{100 * share:.3f}%", dx=7, y=top + _BAR // 2 + 4, class_="sweep-label")
    kind = f"sweep-point bar line-0 {verdict_class(sweep, point)}"
    return tag("g", reach, bar, text, class_=kind, data_at=name_of(point.at))


def _places(sweep: Sweep) -> tuple[int, int | None]:
    """Which axis is drawn along, and which one has a curve for each choice."""
    if len(sweep.axes) == 1:
        return 0, None
    return (0, 1) if sweep.axes[0].is_numeric else (1, 0)


def _along(sweep: Sweep) -> Axis:
    return sweep.axes[_places(sweep)[0]]


def _other(sweep: Sweep) -> Axis | None:
    other = _places(sweep)[1]
    return None if other is None else sweep.axes[other]


def _swatch(number: int) -> Html:
    line = tag("line", x1=0, x2=26, y1=6, y2=6)
    return tag("svg", tag("g", line, class_=f"sweep-line line-{number}"), width=26, height=12, aria_hidden="true")
