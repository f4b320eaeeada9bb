"""Layer × module: which layers train how much, as an SVG of few elements, so that it follows a slider."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.html import Html, tag

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan

_CELL, _GAP, _ROW = 10.0, 1.5, 20.0
_FAINTEST = 0.22

Row = Mapping[int, int]
"""Trainable parameters by layer."""


def heat_map(plan: AdapterPlan) -> Html:
    """One row a module kind, one column a layer; stronger where more is trained. Outside the layers is left out."""
    rows = _rows(plan)
    most = max((params for row in rows.values() for params in row.values()), default=0)
    lines = [_line(kind, row, most, plan.num_layers) for kind, row in rows.items()]
    ticks = (tag("span", number, style=f"left:{_tick_place(number, plan.num_layers):.2f}%") for number in _ticks(plan))
    axis = tag(
        "div", tag("span", "layer", class_="heat-name"), tag("div", *ticks, class_="heat-ticks"), class_="heat-row"
    )
    return tag("div", *lines, axis, class_="heat") if lines else tag("p", "No module inside a layer is adapted.")


def _rows(plan: AdapterPlan) -> Mapping[str, Row]:
    rows: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for module in plan.modules:
        if module.layer is not None:
            rows[module.kind][module.layer] += module.trainable_params
    return rows


def _line(kind: str, row: Row, most: int, num_layers: int) -> Html:
    """Cells of equal value share one path: a row of 126 equal layers is one element."""
    by_params: dict[int, list[int]] = defaultdict(list)
    for layer, params in row.items():
        by_params[params].append(layer)
    empty = [layer for layer in range(num_layers) if layer not in row]
    paths = [_path(layers, params, most, kind) for params, layers in by_params.items()]
    if empty:
        paths.append(tag("path", d=_cells(empty), class_="heat-empty"))
    picture = tag(
        "svg",
        *paths,
        viewBox=f"0 0 {num_layers * _CELL:g} {_ROW:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{kind}: {words.exact_count(sum(row.values()))} parameters in {words.counted(len(row), 'layer')}",
    )
    return tag("div", tag("code", kind, class_="heat-name"), picture, class_="heat-row")


def _path(layers: list[int], params: int, most: int, kind: str) -> Html:
    strength = _FAINTEST + (1 - _FAINTEST) * params / most
    title = f"{kind}, layers {words.spans(tuple(layers))}: {words.exact_count(params)} parameters each"
    return tag("path", tag("title", title), d=_cells(layers), fill_opacity=f"{strength:.3f}")


def _cells(layers: list[int]) -> str:
    width = _CELL - _GAP
    return "".join(f"M{layer * _CELL:g} 0h{width:g}v{_ROW:g}h-{width:g}z" for layer in layers)


def _ticks(plan: AdapterPlan) -> list[int]:
    """The first layer, the last, and three between."""
    last = plan.num_layers - 1
    return sorted({round(last * part / 4) for part in range(5)})


def _tick_place(layer: int, num_layers: int) -> float:
    return 100 * (layer + 0.5) / num_layers
