"""Bars that lie one under the other, each under its name: an SVG that is as wide as its place, in text of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lora_explorer.report.html import Html, tag
from lora_explorer.report.line_chart import round_heights

_ROW, _BAR, _TEXT, _AXIS = 38, 13, 12, 24
_LONGEST_NAME = 34


@dataclass(frozen=True)
class Piece:
    """A part of a bar. style: a class of the style sheet. title: for the pointer."""

    amount: float
    style: str
    title: str = ""


@dataclass(frozen=True)
class Bar:
    """said: the figure behind the name, or why there is none; then there are no pieces."""

    name: str
    said: str
    pieces: tuple[Piece, ...] = ()

    @property
    def amount(self) -> float:
        return sum(piece.amount for piece in self.pieces)


@dataclass(frozen=True)
class BarAxis:
    """written: an amount in words, with its unit. line: an amount that all are held against, and what it is."""

    written: Callable[[float], str]
    line: tuple[float, str] | None = None


def bar_chart(bars: Sequence[Bar], axis: BarAxis) -> Html:
    """All bars on one axis from nothing. What is known of none is an axis alone."""
    most = max((*(bar.amount for bar in bars), axis.line[0] if axis.line else 0.0, 0.0)) or 1.0
    height = len(bars) * _ROW
    return tag(
        "svg",
        *_axis(axis, most, height),
        *(part for number, bar in enumerate(bars) for part in _bar(bar, number * _ROW, most)),
        *_line(axis, most, height),
        width="100%",
        height=height + _AXIS + (_TEXT + 4 if axis.line else 0),
        class_="bars",
        role="img",
        aria_label="; ".join(f"{bar.name}: {bar.said}" for bar in bars),
    )


def shortened(name: str, most: int = _LONGEST_NAME) -> str:
    """A name that has room over its bar."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _bar(bar: Bar, top: int, most: float) -> Iterator[Html]:
    yield tag("text", tag("title", bar.name), shortened(bar.name), x=0, y=top + _TEXT, class_="bar-name")
    yield tag("text", bar.said, x="100%", y=top + _TEXT, text_anchor="end", class_="bar-said")
    begin = 0.0
    for piece in bar.pieces:
        place = {"x": f"{100 * begin / most:.3f}%", "width": f"{100 * piece.amount / most:.3f}%"}
        title = tag("title", piece.title) if piece.title else None
        yield tag("rect", title, **place, y=top + _TEXT + 5, height=_BAR, class_=piece.style)
        begin += piece.amount


def _axis(axis: BarAxis, most: float, height: int) -> Iterator[Html]:
    for tick in round_heights(0, most, 3):
        place = f"{100 * tick / most:.3f}%"
        yield tag("line", x1=place, x2=place, y1=0, y2=height, class_="bar-grid")
        anchor = "start" if tick == 0 else "end" if tick > 0.9 * most else "middle"
        written = "0" if tick == 0 else axis.written(tick)
        yield tag("text", written, x=place, y=height + _TEXT + 4, text_anchor=anchor, class_="bar-tick")


def _line(axis: BarAxis, most: float, height: int) -> Iterator[Html]:
    if axis.line is None:
        return
    amount, said = axis.line
    place = f"{100 * amount / most:.3f}%"
    anchor = "start" if amount < 0.5 * most else "end"
    yield tag("line", x1=place, x2=place, y1=0, y2=height + 4, class_="limit-line")
    yield tag("text", said, x=place, y=height + _AXIS + _TEXT, text_anchor=anchor, class_="limit-said")
