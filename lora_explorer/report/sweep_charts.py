"""A sweep as a Plotly figure: a curve or bars for one axis, a heat map for two, with the lines where cards end.

Every point carries its place in the sweep as `customdata`, so that a click can make it current.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import plotly.graph_objects as go

from lora_explorer.report import words
from lora_explorer.report.charts import BAR_COLOUR
from lora_explorer.report.sweeps import axis_title, cells_of, columns_of

if TYPE_CHECKING:
    from lora_explorer.exploration.axes import Axis
    from lora_explorer.exploration.card_ends import CardEnd
    from lora_explorer.exploration.prediction import Prediction
    from lora_explorer.exploration.sweep import Sweep, SweepPoint

Quantity = Literal["process_bytes", "trainable_params", "adapter_file_bytes", "tokens_per_second"]

_GIB, _MIB = 1 << 30, 1 << 20
_BAD, _GOOD, _LINE = "#c92a2a", "#1f7a35", "#868e96"
# Of the page's blue, see-through, so that the text of either theme can be read on it.
_SCALE = ((0.0, "rgba(92,124,250,0.08)"), (1.0, "rgba(92,124,250,0.75)"))
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MOST_LINES = 6
_HEIGHT = 380
# From this ratio on, values that multiply are told apart on a logarithmic axis only.
_LOGARITHMIC_FROM = 16


@dataclass(frozen=True)
class _Figured:
    """A quantity as it is drawn. unit: of the axis, title: of what is drawn."""

    title: str
    unit: str
    per_unit: float

    def value(self, found: Prediction, quantity: Quantity) -> float | None:
        amount = _amount(found, quantity)
        return None if amount is None else amount / self.per_unit


_FIGURED: Mapping[Quantity, _Figured] = {
    "process_bytes": _Figured("Peak memory of the process", "GiB", _GIB),
    "trainable_params": _Figured("Trainable parameters", "millions", 1e6),
    "adapter_file_bytes": _Figured("Adapter file", "MiB", _MIB),
    "tokens_per_second": _Figured("Tokens a second, as expected", "tokens/s", 1),
}


def _amount(found: Prediction, quantity: Quantity) -> float | None:
    if quantity == "tokens_per_second":
        return found.pace.expected if found.pace else None
    amount: int | None = getattr(found, quantity)
    return amount


def sweep_figure(
    sweep: Sweep, points: Sequence[SweepPoint], quantity: Quantity, ends: Iterable[CardEnd] = ()
) -> go.Figure:
    """What there is of a sweep so far. ends: the lines of cards, drawn where a card ends inside the picture."""
    if len(sweep.axes) == 2:
        return _heat_map(sweep, points, quantity, ends)
    return _curve(sweep, points, quantity)


def _curve(sweep: Sweep, points: Sequence[SweepPoint], quantity: Quantity) -> go.Figure:
    (axis,) = sweep.axes
    figured = _FIGURED[quantity]
    ordered = sorted(points, key=lambda point: point.at)
    drawn: dict[str, Any] = {
        "x": [_place(axis, point.at[0]) for point in ordered],
        "y": [figured.value(point.prediction, quantity) for point in ordered],
        "customdata": [list(point.at) for point in ordered],
        "hovertext": [_told(sweep, point) for point in ordered],
        "hoverinfo": "text",
    }
    colours = [_colour(sweep, point) for point in ordered]
    if axis.is_numeric:
        marker = {"color": colours, "size": 9}
        trace = go.Scatter(**drawn, mode="lines+markers", line={"color": BAR_COLOUR}, marker=marker)
    else:
        trace = go.Bar(**drawn, marker={"color": colours, "cornerradius": 4})
    figure = _framed(go.Figure(trace), axis_title(axis), f"{figured.title}, {figured.unit}")
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(**_numeric_axis(axis))
    if quantity == "process_bytes":
        _draw_capacities(figure, sweep, drawn["y"])
    return figure


def _place(axis: Axis, index: int) -> float | str:
    choice = axis.choices[index]
    return choice.number if axis.is_numeric and choice.number is not None else choice.label


def _numeric_axis(axis: Axis) -> dict[str, Any]:
    """Values that multiply stand at equal distances, each with its number."""
    numbers = [choice.number for choice in axis.choices if choice.number]
    if not axis.is_numeric or len(numbers) < 3 or max(numbers) < _LOGARITHMIC_FROM * min(numbers):
        return {}
    ticks = [choice for choice in axis.choices if choice.number]
    return {"type": "log", "tickvals": [tick.number for tick in ticks], "ticktext": [tick.label for tick in ticks]}


def _draw_capacities(figure: go.Figure, sweep: Sweep, heights: Sequence[float | None]) -> None:
    """A line for each card that is not far above all points."""
    most = max((height for height in heights if height is not None), default=0.0)
    near = sorted(sweep.cards, key=lambda card: card.memory_bytes)
    for number, card in enumerate([card for card in near if card.memory_bytes / _GIB < 1.6 * most][:MOST_LINES]):
        figure.add_hline(
            y=card.memory_bytes / _GIB,
            line={"color": _LINE, "width": 1.5, "dash": _DASHES[number]},
            annotation={"text": card.name, "font": {"size": 11}},
            annotation_position="top left",
        )


def _colour(sweep: Sweep, point: SweepPoint) -> str:
    """Whether the first card holds it; the page's blue without a card."""
    fit = point.prediction.fit_on(sweep.cards[0].name) if sweep.cards else None
    return BAR_COLOUR if fit is None else _GOOD if fit.fits else _BAD


def _heat_map(sweep: Sweep, points: Sequence[SweepPoint], quantity: Quantity, ends: Iterable[CardEnd]) -> go.Figure:
    across, up = sweep.axes
    figured = _FIGURED[quantity]
    known = {point.at: point for point in points}
    rows = [[(x, y) for x in range(len(across.choices))] for y in range(len(up.choices))]
    heat = go.Heatmap(
        z=[[_height(known.get(at), quantity, figured) for at in row] for row in rows],
        x=list(range(len(across.choices))),
        y=list(range(len(up.choices))),
        customdata=[[list(at) for at in row] for row in rows],
        text=[[_in_short(known.get(at), quantity) for at in row] for row in rows],
        texttemplate="%{text}" if sweep.size <= 120 else None,
        hovertext=[[_told(sweep, known[at]) if at in known else "" for at in row] for row in rows],
        hoverinfo="text",
        colorscale=_SCALE,
        colorbar={"title": {"text": f"{figured.title}, {figured.unit}", "side": "right"}, "thickness": 12},
        xgap=2,
        ygap=2,
    )
    figure = _framed(go.Figure(heat), axis_title(across), axis_title(up))
    figure.update_xaxes(tickvals=list(range(len(across.choices))), ticktext=[each.label for each in across.choices])
    figure.update_yaxes(tickvals=list(range(len(up.choices))), ticktext=[each.label for each in up.choices])
    for number, end in enumerate(_inside(sweep, ends)):
        figure.add_trace(_border(sweep, end, _DASHES[number]))
    return figure


def _height(point: SweepPoint | None, quantity: Quantity, figured: _Figured) -> float | None:
    return None if point is None else figured.value(point.prediction, quantity)


def _in_short(point: SweepPoint | None, quantity: Quantity) -> str:
    if point is None:
        return ""
    amount = _amount(point.prediction, quantity)
    if amount is None:
        return "×"
    if quantity == "process_bytes":
        return words.gib(int(amount))
    if quantity == "adapter_file_bytes":
        return words.file_size(int(amount))
    return words.short_count(round(amount))


def _told(sweep: Sweep, point: SweepPoint) -> str:
    named = zip(columns_of(sweep), cells_of(sweep, point), strict=True)
    return "<br>".join(_escaped(f"{name}: {cell}" if name else cell) for name, cell in named if cell)


def _escaped(text: str) -> str:
    """Plotly reads some HTML in what it shows."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _inside(sweep: Sweep, ends: Iterable[CardEnd]) -> list[CardEnd]:
    """Cards that hold some of the points and not others; of those with the same line the first."""
    along = {axis.name: len(axis.choices) for axis in sweep.axes}
    found: dict[tuple[int | None, ...], CardEnd] = {}
    for end in ends:
        last = along[end.axis] - 1
        if end.holds_something and any(index != last for index in end.largest):
            found.setdefault(end.largest, end)
    return list(found.values())[:MOST_LINES]


def _border(sweep: Sweep, end: CardEnd, dash: str) -> go.Scatter:
    """A line of steps behind the last cell that fits."""
    steps = [(place, -0.5 if index is None else index + 0.5) for place, index in enumerate(end.largest)]
    corners = [corner for place, level in steps for corner in ((place - 0.5, level), (place + 0.5, level))]
    is_across = end.axis == sweep.axes[0].name
    places, levels = [place for place, _ in corners], [level for _, level in corners]
    return go.Scatter(
        x=levels if is_across else places,
        y=places if is_across else levels,
        mode="lines",
        line={"color": _BAD, "width": 2.5, "dash": dash},
        name=f"{end.gpu} ends",
        hoverinfo="name",
    )


def _framed(figure: go.Figure, across: str, up: str) -> go.Figure:
    figure.update_layout(
        template="none",
        height=_HEIGHT,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 12, "family": "system-ui, sans-serif"},
        dragmode=False,
        showlegend=len(figure.data) > 1,
        legend={"orientation": "h", "y": 1.1, "x": 0},
        bargap=0.35,
    )
    figure.update_xaxes(title={"text": across}, automargin=True, fixedrange=True)
    figure.update_yaxes(title={"text": up}, automargin=True, fixedrange=True, gridcolor="rgba(134,142,150,0.25)")
    return figure


def quantities_in(points: Iterable[SweepPoint]) -> Iterator[Quantity]:
    """What can be drawn of these points."""
    listed = list(points)
    for quantity in _FIGURED:
        if any(_amount(point.prediction, quantity) is not None for point in listed):
            yield quantity
