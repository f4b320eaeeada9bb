"""Two figures of each configuration as points: an SVG that is as wide as its place, in text of one size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lora_explorer.report.html import Html, tag
from lora_explorer.report.line_chart import round_heights

_HEIGHT, _TOP, _AXIS, _RADIUS = 230.0, 22.0, 40, 9
# In percent of the width: what is left free on both sides of the points.
_LEFT, _RIGHT = 6.0, 6.0
# Closer than this, in percent of the width and in pixels, points are one with both signs.
_SAME_X, _SAME_Y = 3.5, 12.0
_ROOM = 1.12
_LINE_OF_TEXT, _NEAR, _THIRD = 15, 26, 34.0


@dataclass(frozen=True)
class Dot:
    """sign: what stands in it. style: a class of the style sheet."""

    x: float
    y: float
    sign: str
    name: str
    style: str


@dataclass(frozen=True)
class ScatterAxes:
    """written: of both axes, an amount in words. units: above the vertical, and under the horizontal one.

    line: a height that all are held against, and what it is. reach: how far the horizontal axis goes at least.
    """

    written_x: Callable[[float], str]
    written_y: Callable[[float], str]
    units: tuple[str, str]
    line: tuple[float, str] | None = None
    reach: float = 0.0


def scatter_chart(dots: Sequence[Dot], axes: ScatterAxes) -> Html:
    """Both axes from nothing. Without a point an empty picture of the same size."""
    across = max((*(dot.x for dot in dots), axes.reach)) * _ROOM or 1.0
    up = max((*(dot.y for dot in dots), axes.line[0] if axes.line else 0.0, 0.0)) * _ROOM or 1.0
    frame = _Frame(across, up)
    return tag(
        "svg",
        *_grid(axes, frame),
        *_line(dots, axes, frame),
        *(_drawn(group) for group in _groups(dots, frame)),
        tag("text", axes.units[0], x=0, y=12, class_="bar-tick"),
        tag("text", axes.units[1], x="100%", y=_TOP + _HEIGHT + 34, text_anchor="end", class_="bar-tick"),
        width="100%",
        height=int(_TOP + _HEIGHT) + _AXIS,
        class_="scatter",
        role="img",
        aria_label="; ".join(f"{dot.name}: {axes.written_x(dot.x)}, {axes.written_y(dot.y)}" for dot in dots),
    )


@dataclass(frozen=True)
class _Frame:
    """What the edges of the picture stand for."""

    across: float
    up: float

    def x(self, amount: float) -> float:
        """In percent of the width."""
        return _LEFT + (100 - _LEFT - _RIGHT) * amount / self.across

    def y(self, amount: float) -> float:
        """In pixels from the top."""
        return _TOP + _HEIGHT * (1 - amount / self.up)


@dataclass(frozen=True)
class _Placed:
    x: float
    y: float
    dots: tuple[Dot, ...]


def _groups(dots: Sequence[Dot], frame: _Frame) -> list[_Placed]:
    """Points that would lie upon each other share their place."""
    found: list[_Placed] = []
    for dot in dots:
        x, y = frame.x(dot.x), frame.y(dot.y)
        near = next((one for one in found if abs(one.x - x) < _SAME_X and abs(one.y - y) < _SAME_Y), None)
        if near is None:
            found.append(_Placed(x, y, (dot,)))
        else:
            found[found.index(near)] = _Placed(near.x, near.y, (*near.dots, dot))
    return found


def _drawn(group: _Placed) -> Html:
    names = ", ".join(dot.name for dot in group.dots)
    first, *others = group.dots
    beside = f"+ {', '.join(dot.sign for dot in others)}" if others else ""
    # Beside the point where there is room for it.
    side, anchor = (-_RADIUS - 4, "end") if group.x > 80 else (_RADIUS + 4, "start")
    place = {"x": f"{group.x:.2f}%", "y": round(group.y + 4, 1)}
    return tag(
        "g",
        tag("title", names),
        tag("circle", cx=f"{group.x:.2f}%", cy=round(group.y, 1), r=_RADIUS, class_=f"dot {first.style}"),
        tag("text", first.sign, **place, text_anchor="middle", class_=f"dot-sign {first.style}"),
        tag("text", beside, **place, dx=side, text_anchor=anchor, class_="bar-tick") if beside else None,
    )


def _grid(axes: ScatterAxes, frame: _Frame) -> Iterator[Html]:
    limit = frame.y(axes.line[0]) if axes.line else -_HEIGHT
    for tick in round_heights(0, frame.up, 4):
        y = round(frame.y(tick), 1)
        yield tag("line", x1=0, x2="100%", y1=y, y2=y, class_="bar-grid")
        if tick > 0 and abs(y - limit) > _LINE_OF_TEXT:
            yield tag("text", axes.written_y(tick), x=0, y=y - 4, class_="bar-tick")
    for tick in round_heights(0, frame.across, 3):
        x = f"{frame.x(tick):.2f}%"
        yield tag("line", x1=x, x2=x, y1=_TOP, y2=_TOP + _HEIGHT, class_="bar-grid")
        written = "0" if math.isclose(tick, 0) else axes.written_x(tick)
        yield tag("text", written, x=x, y=_TOP + _HEIGHT + 16, text_anchor="middle", class_="bar-tick")


def _line(dots: Sequence[Dot], axes: ScatterAxes, frame: _Frame) -> Iterator[Html]:
    if axes.line is None:
        return
    amount, said = axes.line
    y = round(frame.y(amount), 1)
    yield tag("line", x1=0, x2="100%", y1=y, y2=y, class_="limit-line")
    # At the left, unless a point is there and none at the right.
    near = [frame.x(dot.x) for dot in dots if abs(frame.y(dot.y) - y) < _NEAR]
    at_right = any(x < _THIRD for x in near) and not any(x > 100 - _THIRD for x in near)
    place, anchor = ("100%", "end") if at_right else (0, "start")
    yield tag("text", said, x=place, y=y - 5, text_anchor=anchor, class_="limit-said")
