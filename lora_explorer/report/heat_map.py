"""Layer × module: which layers train how much, as an SVG of few elements, so that it follows a slider.

Around the picture lies a grid without cells: each row tells its cells' contents as spans, and the page's script makes
the one cell that the keyboard is at.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lora_explorer.report import words
from lora_explorer.report.html import Html, tag

if TYPE_CHECKING:
    from lora_explorer.exploration.layer_map import MapRow
    from lora_explorer.exploration.layer_map.rows import Cell

ASKS = "Which layers train how much?"
_CELL, _GAP = 10.0, 1.5
_ROW, _ROW_GAP = 23, 4
_FAINTEST = 0.22
_NO_SUCH_MODULE, _NOT_TRAINED = "no such module", "not trained"
NOTHING_INSIDE = "This model has no module inside a layer that could be adapted."


class _Span(NamedTuple):
    first: int
    last: int
    cell: Cell | None


def heat_map(rows: Sequence[MapRow], num_layers: int) -> Html:
    """One row a module kind, one column a layer; stronger where more is trained, hollow where a module is not.

    Outside the layers is left out.
    """
    if not rows:
        return tag("p", NOTHING_INSIDE)
    most = max((cell.trainable_params for row in rows for cell in row.cells.values()), default=0)
    grid = tag(
        "div",
        tag("div", _picture(rows, num_layers, most), class_="heat-plot"),
        *(_row(number, row, num_layers) for number, row in enumerate(rows, 1)),
        role="grid",
        class_="heat",
        aria_label="Kinds of module by layer",
        aria_multiselectable="true",
        aria_rowcount=len(rows),
        # The names are the first column.
        aria_colcount=num_layers + 1,
        data_layers=num_layers,
    )
    table = tag("details", tag("summary", "Table", data_keep="layers"), _table(rows, num_layers), class_="chart-table")
    about = {"data_name": "layers-and-modules", "aria_label": ASKS, "data_unit": "stronger: more trainable parameters"}
    return tag("figure", grid, _axis(num_layers), table, class_="chart heat-chart", **about)


def _picture(rows: Sequence[MapRow], num_layers: int, most: int) -> Html:
    height = len(rows) * (_ROW + _ROW_GAP) - _ROW_GAP
    return tag(
        "svg",
        *(path for number, row in enumerate(rows) for path in _paths(row, number * (_ROW + _ROW_GAP), most)),
        viewBox=f"0 0 {num_layers * _CELL:g} {height}",
        preserveAspectRatio="none",
        style=f"height:{height}px",
        aria_hidden="true",
    )


def _paths(row: MapRow, top: int, most: int) -> Iterator[Html]:
    """Cells of equal value share one path: a row of 126 equal layers is one element."""
    by_params: dict[int, list[int]] = defaultdict(list)
    for layer, cell in row.cells.items():
        by_params[cell.trainable_params].append(layer)
    for params, layers in by_params.items():
        strength = _FAINTEST + (1 - _FAINTEST) * params / most
        title = f"{row.name}, layers {words.spans(tuple(layers))}: {words.exact_count(params)} parameters each"
        yield tag("path", tag("title", title), d=_cells(layers, top), fill_opacity=f"{strength:.3f}")
    empty = [layer for layer in row.layers if layer not in row.cells]
    if empty:
        title = f"{row.name}, layers {words.spans(tuple(empty))}: {_NOT_TRAINED}"
        yield tag("path", tag("title", title), d=_cells(empty, top), class_="heat-empty")


def _cells(layers: Sequence[int], top: int) -> str:
    width = _CELL - _GAP
    return "".join(f"M{layer * _CELL:g} {top}h{width:g}v{_ROW}h-{width:g}z" for layer in layers)


def _row(number: int, row: MapRow, num_layers: int) -> Html:
    said = [[span.first, span.last, _said(span.cell, span.first, row)] for span in _spans(row, num_layers)]
    return tag(
        "div",
        tag("span", _name(row), role="rowheader", aria_colindex=1),
        tag("span", class_="heat-cells"),
        role="row",
        class_="heat-row" if row.cells else "heat-row untrained",
        aria_rowindex=number,
        data_row=row.name,
        data_said=json.dumps(said, ensure_ascii=False),
    )


def _name(row: MapRow) -> Html:
    """A button where an edit can speak of the row; it does without a stop of its own, the grid has one."""
    if not row.is_editable:
        return tag("code", row.name, class_="heat-name", title=row.name)
    some, whole = bool(row.cells), len(row.cells) == len(row.layers)
    layers = words.counted(len(row.layers), "layer")
    return tag(
        "button",
        row.name,
        type="button",
        class_="heat-name",
        tabindex=-1,
        aria_pressed=str(whole).lower() if whole or not some else "mixed",
        title=f"Do not train {row.name} in {layers}" if whole else f"Train {row.name} in {layers}",
    )


def _said(cell: Cell | None, layer: int, row: MapRow) -> str:
    if cell is None:
        return _NOT_TRAINED if layer in row.layers else _NO_SUCH_MODULE
    params = f"{words.exact_count(cell.trainable_params)} parameters"
    return f"{params}, trained in full" if cell.r is None else f"rank {cell.r}, alpha {cell.alpha:g}, {params}"


def _spans(row: MapRow, num_layers: int) -> Iterator[_Span]:
    """Neighbouring layers in which the same is trained."""
    start = 0
    for layer in range(1, num_layers + 1):
        if layer == num_layers or _content(row, layer) != _content(row, start):
            yield _Span(start, layer - 1, row.cells.get(start))
            start = layer


def _content(row: MapRow, layer: int) -> tuple[Cell | None, bool]:
    return row.cells.get(layer), layer in row.layers


def _table(rows: Sequence[MapRow], num_layers: int) -> Html:
    heads = ("Module", "Layers", "Rank", "Alpha", "Parameters a layer", "Parameters")
    head = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in heads)))
    lines = (_line(row, span) for row in rows for span in _spans(row, num_layers) if span.first in row.layers)
    return tag("table", head, tag("tbody", *lines), class_="figures-table")


def _line(row: MapRow, span: _Span) -> Html:
    cell, layers = span.cell, range(span.first, span.last + 1)
    params = cell.trainable_params if cell else 0
    figures = (
        words.spans(tuple(layers)),
        "–" if cell is None else cell.r or "in full",
        "–" if cell is None or cell.alpha is None else f"{cell.alpha:g}",
        words.exact_count(params),
        words.exact_count(params * len(layers)),
    )
    name = tag("th", tag("code", row.name), scope="row")
    return tag("tr", name, *(tag("td", figure, class_="number") for figure in figures))


def _axis(num_layers: int) -> Html:
    ticks = (tag("span", number, style=f"left:{_tick_place(number, num_layers):.2f}%") for number in _ticks(num_layers))
    return tag(
        "div",
        tag("span", "layer", class_="heat-name"),
        tag("div", *ticks, class_="heat-ticks"),
        class_="heat-row",
        aria_hidden="true",
    )


def _ticks(num_layers: int) -> list[int]:
    """The first layer, the last, and three between."""
    last = num_layers - 1
    return sorted({round(last * part / 4) for part in range(5)})


def _tick_place(layer: int, num_layers: int) -> float:
    return 100 * (layer + 0.5) / num_layers
