"""A sweep over two settings as a map: one cell a point, the stronger the more, and steps where each card ends.

The picture is one SVG that is as wide as there is room: its places are shares of the width, its text and heights are
pixels. It is written once with empty cells; each cell is filled in as its point comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lora_explorer.report.html import Html, join, tag
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
from lora_explorer.report.sweep_quantities import QUANTITIES, Quantity
from lora_explorer.report.sweeps import axis_title

if TYPE_CHECKING:
    from lora_explorer.exploration.axes import Axis
    from lora_explorer.exploration.card_ends import CardEnd
    from lora_explorer.exploration.sweep import Sweep, SweepPoint

Step = tuple[tuple[int, int], tuple[int, int]]
"""From one corner of a cell to the next, each as its column and its row."""

_TOP, _BOTTOM, _RIGHT = 24, 44, 18
_TALL, _LOW = 32, 20
_MOST_TALL_ROWS = 14
_MOST_WRITTEN_COLUMNS = 16
_WRITTEN_WIDTH, _BARE_WIDTH = 47, 7
_SIGN_WIDTH = 6.6


def map_frame(sweep: Sweep) -> Html:
    """The picture without a figure: axes, titles, and an empty cell for each point. Parts are named by their place."""
    across, up = sweep.axes
    left, height = _left(up), _row_height(sweep) * len(up.choices)
    rows = range(len(up.choices))
    labels = (
        tag("text", shortened(choice.label), x=-8, y=_middle(sweep, row) + 4, class_="sweep-label end")
        for row, choice in enumerate(up.choices)
    )
    ticks = (
        tag(
            "text",
            shortened(across.choices[index].label),
            x=_percent(index + 0.5, across),
            y=height + 16,
            class_="sweep-label mid",
        )
        for index in _labelled(across)
    )
    cells = (_empty_cell(sweep, (index, row)) for row in rows for index in range(len(across.choices)))
    title = tag("text", axis_title(across), x="50%", y=height + 36, class_="sweep-title mid")
    plot = (
        tag("text", axis_title(up), x=-left, y=13 - _TOP, class_="sweep-title"),
        *labels,
        *cells,
        # Over the cells, where no neighbour covers it.
        tag("rect", class_="here-mark"),
        tag("g", data_part="ends"),
        *ticks,
        title,
    )
    columns = len(across.choices) * _column_width(sweep)
    return picture(plot, Margins(left, _RIGHT, _TOP, _BOTTOM), height, columns, 0, titles_of((across, up)))


def has_figures(sweep: Sweep) -> bool:
    """Whether there is room for them in the cells."""
    return len(sweep.axes[0].choices) <= _MOST_WRITTEN_COLUMNS


def map_parts(sweep: Sweep, points: Sequence[SweepPoint], ends: Iterable[CardEnd] = ()) -> dict[str, Html]:
    """What stands in the parts of the frame: cells by their place, and the lines of cards."""
    parts = {name_of(point.at): _cell(sweep, point) for point in points}
    parts["ends"] = join(*(_border(sweep, line, gpus[0]) for line, gpus in lines_of_cards(sweep, points, ends).items()))
    return parts


def scale_part(points: Sequence[SweepPoint]) -> dict[str, Html]:
    """What the colours and figures of each quantity are in, from the weakest to the strongest."""
    return {"scale": join(*(_scale(points, quantity) for quantity in QUANTITIES))}


def colours(points: Sequence[SweepPoint]) -> Mapping[str, str]:
    """Custom properties: between which amounts the colours of each quantity lie, as logarithms."""
    found: dict[str, str] = {}
    for quantity in QUANTITIES:
        heights = [height for point in points if (height := _height(point, quantity)) is not None]
        low, high = min(heights, default=0.0), max(heights, default=1.0)
        found[f"--low-{quantity.name}"] = f"{low:.4f}"
        found[f"--span-{quantity.name}"] = f"{max(high - low, 0.01):.4f}"
    return found


def lines_of_cards(
    sweep: Sweep, points: Sequence[SweepPoint], ends: Iterable[CardEnd]
) -> Mapping[tuple[Step, ...], list[str]]:
    """Steps between each cell that a card holds and the neighbour that it does not, with the cards that have them."""
    found: dict[tuple[Step, ...], list[str]] = {}
    for end in ends:
        if steps := tuple(_steps(points, end.gpu)):
            found.setdefault(steps, []).append(end.gpu)
    return found


def _steps(points: Sequence[SweepPoint], gpu: str) -> Iterator[Step]:
    fits = {point.at: fit.fits for point in points if (fit := point.prediction.fit_on(gpu))}
    for (column, row), is_held in fits.items():
        if fits.get((column + 1, row), is_held) is not is_held:
            yield (column + 1, row), (column + 1, row + 1)
        if fits.get((column, row + 1), is_held) is not is_held:
            yield (column, row + 1), (column + 1, row + 1)


def _empty_cell(sweep: Sweep, at: tuple[int, int]) -> Html:
    place = name_of(at)
    return tag(
        "g", _rect(sweep, at, "cell empty", ""), class_="sweep-point", data_at=place, data_part=place, data_empty=True
    )


def _cell(sweep: Sweep, point: SweepPoint) -> Html:
    amounts = ";".join(
        f"--{quantity.name}:{height:.4f}" for quantity in QUANTITIES if (height := _height(point, quantity)) is not None
    )
    written = _written(sweep, point) if has_figures(sweep) else ()
    return tag("g", _rect(sweep, point.at, "cell", amounts), *written, class_=verdict_class(sweep, point))


def _written(sweep: Sweep, point: SweepPoint) -> Iterator[Html]:
    place = {"x": _percent(point.at[0] + 0.5, sweep.axes[0]), "y": _middle(sweep, point.at[1]) + 4}
    for quantity in QUANTITIES:
        amount = quantity.amount(point.prediction)
        yield tag(
            "text",
            nothing_of(point) if amount is None else quantity.short(amount),
            class_=f"of-{quantity.name} mid",
            **place,
        )


def _scale(points: Sequence[SweepPoint], quantity: Quantity) -> Html:
    amounts = [amount for point in points if (amount := quantity.amount(point.prediction)) is not None]
    least, most = (quantity.short(pick(amounts)) if amounts else "–" for pick in (min, max))
    return tag("p", tag("span", least), tag("i"), tag("span", f"{most} {quantity.unit}"), class_=f"of-{quantity.name}")


def _height(point: SweepPoint, quantity: Quantity) -> float | None:
    amount = quantity.amount(point.prediction)
    return None if amount is None else math.log(max(amount, 1e-3))


def _rect(sweep: Sweep, at: Sequence[int], kind: str, style: str) -> Html:
    height = _row_height(sweep)
    return tag(
        "rect",
        x=_percent(at[0], sweep.axes[0]),
        y=at[1] * height,
        width=_percent(1, sweep.axes[0]),
        height=height,
        class_=kind,
        style=style or None,
    )


def _border(sweep: Sweep, steps: Iterable[Step], gpu: str) -> Html:
    placed = ((_placed(sweep, start), _placed(sweep, stop)) for start, stop in steps)
    drawn = (tag("line", x1=start[0], y1=start[1], x2=stop[0], y2=stop[1]) for start, stop in placed)
    return tag("g", *drawn, class_=end_class(sweep, gpu))


def _placed(sweep: Sweep, corner: tuple[int, int]) -> tuple[str, int]:
    return _percent(corner[0], sweep.axes[0]), corner[1] * _row_height(sweep)


def _row_height(sweep: Sweep) -> int:
    return _TALL if len(sweep.axes[1].choices) <= _MOST_TALL_ROWS else _LOW


def _middle(sweep: Sweep, row: int) -> int:
    height = _row_height(sweep)
    return row * height + height // 2


def _column_width(sweep: Sweep) -> int:
    if not has_figures(sweep):
        return _BARE_WIDTH
    longest = max(len(shortened(choice.label)) for choice in sweep.axes[0].choices)
    return max(_WRITTEN_WIDTH, round(longest * _SIGN_WIDTH) + 10)


def _percent(place: float, axis: Axis) -> str:
    return f"{100 * place / len(axis.choices):.3f}%"


def _left(axis: Axis) -> int:
    longest = max(len(shortened(choice.label)) for choice in axis.choices)
    return max(round(longest * _SIGN_WIDTH) + 14, 40)


def _labelled(axis: Axis) -> Iterator[int]:
    """So many that none touches the next, the last one among them."""
    count = len(axis.choices)
    if count <= _MOST_WRITTEN_COLUMNS:
        yield from range(count)
        return
    stride = math.ceil(count / 8)
    yield from range(count - 1, -1, -stride)
