"""Configurations side by side as pictures: what is trained, what is saved, where memory goes, what is paid for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_explorer.memory.result import CONTEXT, FRAGMENTATION, PARTS
from lora_explorer.report import words
from lora_explorer.report.bar_chart import Bar, BarAxis, Piece, bar_chart
from lora_explorer.report.chart_frame import figures_table, framed
from lora_explorer.report.comparison import UNKNOWN, WAITING, Column
from lora_explorer.report.html import Html, tag
from lora_explorer.report.memory_bar import class_of
from lora_explorer.report.scatter_chart import Dot, ScatterAxes, scatter_chart

if TYPE_CHECKING:
    from lora_explorer.memory import Card

_GIB, _MIB, _MILLION = 1 << 30, 1 << 20, 10**6
# From here on a size is told in the next larger unit.
_LARGE_MIB = 4096


def params_chart(columns: Sequence[Column]) -> Html:
    """Trainable parameters as bars."""
    amounts = [column.figures.trainable_params for column in columns]
    said = [None if amount is None else words.exact_count(amount) for amount in amounts]
    scaled = [None if amount is None else amount / _MILLION for amount in amounts]
    picture = bar_chart(_bars(columns, scaled, said), BarAxis(lambda millions: f"{millions:,g} M"))
    table = _table("Trainable parameters", columns, said)
    return framed("compare-trainable-params", "How much is trained?", "trainable parameters", picture, table=table)


def adapter_chart(columns: Sequence[Column]) -> Html:
    """Sizes of the adapter's file as bars."""
    amounts = [column.figures.adapter_file_bytes for column in columns]
    said = [None if amount is None else words.file_size(amount) for amount in amounts]
    in_gib = max((amount or 0 for amount in amounts), default=0) > _LARGE_MIB * _MIB
    unit, size = ("GiB", _GIB) if in_gib else ("MiB", _MIB)
    scaled = [None if amount is None else amount / size for amount in amounts]
    picture = bar_chart(_bars(columns, scaled, said), BarAxis(lambda amount: f"{amount:,g} {unit}"))
    table = _table("Adapter file", columns, said)
    return framed("compare-adapter-file", "How large is the adapter's file?", f"{unit} on disk", picture, table=table)


def memory_chart(columns: Sequence[Column], card: Card | None) -> Html:
    """Peak memory by part as stacked bars, and the line where the card ends."""
    bars = [Bar(_named(column), _peak_said(column), _pieces(column)) for column in columns]
    line = (card.memory_bytes / _GIB, f"{_usable(card)} usable on {card.name}") if card else None
    picture = bar_chart(bars, BarAxis(lambda gib: f"{gib:,g} GiB", line))
    legend = tag("ul", *(_entry(name) for name in _parts_of(columns)), class_="line-legend")
    unit = "GiB held by the process, by part"
    table = _memory_table(columns)
    return framed("compare-memory", "Where does the memory go at the peak?", unit, picture, legend, table=table)


def cost_chart(columns: Sequence[Column], card: Card | None) -> Html:
    """Trainable parameters against peak memory, one point each, and the line where the card ends."""
    dots = [
        Dot(params / _MILLION, held / _GIB, column.sign, column.name, style_of(column))
        for column in columns
        if (params := column.figures.trainable_params) is not None
        and (held := column.figures.process_bytes) is not None
    ]
    line = (card.memory_bytes / _GIB, f"{card.name}: {_usable(card)}") if card else None
    axes = ScatterAxes(
        lambda millions: f"{millions:,g} M",
        lambda gib: f"{gib:,g} GiB",
        ("peak memory", "trainable parameters"),
        line,
        max(((column.figures.trainable_params or 0) / _MILLION for column in columns), default=0.0),
    )
    table = figures_table(
        ("Configuration", "Trainable parameters", "Peak memory"),
        [(_named(column), _exact(column), _peak_said(column)) for column in columns],
    )
    picture = scatter_chart(dots, axes)
    unit = "each point a configuration"
    asks = "What does training more cost in memory?"
    return framed("compare-params-and-memory", asks, unit, picture, _signs(columns), table=table)


def style_of(column: Column) -> str:
    """The class that gives a configuration its colour wherever it is drawn: by its sign, a number."""
    return f"series-{column.sign if column.sign.isdecimal() else 0}"


def badge(column: Column) -> Html:
    """The sign of a configuration in its colour."""
    return tag("i", column.sign, class_=f"badge {style_of(column)}", aria_hidden="true")


def _named(column: Column) -> str:
    return f"{column.sign} {column.name}".strip()


def _bars(columns: Sequence[Column], scaled: Sequence[float | None], said: Sequence[str | None]) -> list[Bar]:
    return [
        Bar(
            _named(column),
            text or _missing(column),
            () if amount is None else (Piece(amount, "bar-piece on-screen" if column.is_on_screen else "bar-piece"),),
        )
        for column, amount, text in zip(columns, scaled, said, strict=True)
    ]


def _missing(column: Column) -> str:
    return UNKNOWN if column.figures.is_whole else WAITING


def _table(figure: str, columns: Sequence[Column], said: Sequence[str | None]) -> Html:
    rows = ((_named(column), text or _missing(column)) for column, text in zip(columns, said, strict=True))
    return figures_table(("Configuration", figure), rows)


def _exact(column: Column) -> str:
    params = column.figures.trainable_params
    return _missing(column) if params is None else words.exact_count(params)


def _peak_said(column: Column) -> str:
    figures = column.figures
    if figures.process_bytes is not None:
        return f"{words.gib(figures.process_bytes)} GiB"
    if figures.at_least_bytes is not None:
        return f"at least {words.gib(figures.at_least_bytes)} GiB"
    return _missing(column)


def _pieces(column: Column) -> tuple[Piece, ...]:
    return tuple(
        Piece(size / _GIB, class_of(name), f"{name}: {words.gib(size, 2)} GiB")
        for name, size in column.figures.parts
        if size
    )


def _usable(card: Card) -> str:
    return f"{words.gib(card.memory_bytes)} GiB"


def _parts_of(columns: Sequence[Column]) -> list[str]:
    """Those that any configuration has, in the order of the bars."""
    found = {name for column in columns for name, size in column.figures.parts if size}
    return [name for name in (*PARTS, FRAGMENTATION, CONTEXT) if name in found]


def _entry(name: str) -> Html:
    swatch = tag("i", class_=f"swatch {class_of(name)}", aria_hidden="true")
    return tag("li", swatch, tag("span", name[:1].upper() + name[1:]))


def _memory_table(columns: Sequence[Column]) -> Html:
    names = _parts_of(columns)
    rows = []
    for column in columns:
        sizes = dict(column.figures.parts)
        cells = [f"{words.gib(sizes[name], 2)} GiB" if name in sizes else _missing(column) for name in names]
        rows.append((_named(column), *cells, _peak_said(column)))
    return figures_table(("Configuration", *(name[:1].upper() + name[1:] for name in names), "Together"), rows)


def _signs(columns: Sequence[Column]) -> Html:
    entries = (tag("li", badge(column), tag("span", column.name)) for column in columns)
    return tag("ul", *entries, class_="line-legend")
