"""Lines over steps: an SVG of few elements with its axes written beside it, drawn anew with every point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from lora_explorer.report.html import Html, tag

Point = tuple[float, float | None]
"""Step and height; a height that is None or not finite leaves a gap."""

_WIDTH, _HEIGHT = 1000.0, 100.0
_MOST_POINTS = 500
_LEAST_SPREAD = 1e-12
# Room over and under the lines, as a share of what they span.
_MARGIN = 0.06


@dataclass(frozen=True)
class Line:
    """name: for the legend and the pointer. style: a class of the style sheet. dots: each point marked by itself."""

    name: str
    points: tuple[Point, ...]
    style: str
    dots: bool = False


@dataclass(frozen=True)
class Axes:
    """unit: written above the vertical axis. written: a height in words. steps: what the horizontal axis ends at.

    from_zero: for amounts, where the distance from nothing is what counts.
    """

    unit: str
    written: Callable[[float], str]
    steps: int
    from_zero: bool = False


def line_chart(lines: Sequence[Line], axes: Axes, *, small: bool = False) -> Html:
    """The lines in one picture, with the axes and their units; without any point an empty picture of the same size."""
    low, high = _heights(lines, axes)
    ticks = round_heights(low, high, 3 if small else 5)
    last_step = max(axes.steps, 1)
    frame = _Frame(low, high, last_step)
    picture = tag(
        "svg",
        *(tag("path", d=f"M0 {frame.y(tick):.2f}H{_WIDTH:g}", class_="line-grid") for tick in ticks),
        *(path for line in lines for path in _drawn(line, frame)),
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=_described(lines, axes),
    )
    # An empty picture has lines, but no heights to tell.
    told = ticks if _numbers(lines) else []
    heights = (tag("span", axes.written(tick), style=f"top:{frame.y(tick):.2f}%") for tick in told)
    return tag(
        "div",
        tag("div", axes.unit, class_="line-unit"),
        tag("div", *heights, class_="line-heights", aria_hidden="true"),
        tag("div", picture, class_="line-plot"),
        tag("div", "step", class_="line-step", aria_hidden="true"),
        _step_axis(last_step, small=small),
        class_="line-chart small" if small else "line-chart",
    )


def legend(lines: Sequence[Line]) -> Html:
    """What each line is."""
    entries = (
        tag("li", tag("i", class_=f"line-swatch {line.style}", aria_hidden="true"), tag("span", line.name))
        for line in lines
    )
    return tag("ul", *entries, class_="line-legend")


def smoothed(points: Sequence[Point], memory: float = 0.8) -> tuple[Point, ...]:
    """A moving average that forgets: each point counts `memory` times as much as the next. The start is not biased."""
    found: list[Point] = []
    total = weight = 0.0
    for step, height in points:
        if _is_number(height):
            total, weight = memory * total + (1 - memory) * height, memory * weight + (1 - memory)
            found.append((step, total / weight))
    return tuple(found)


@dataclass(frozen=True)
class _Frame:
    """What the edges of the picture stand for."""

    low: float
    high: float
    last_step: int

    def x(self, step: float) -> float:
        return _WIDTH * step / self.last_step

    def y(self, height: float) -> float:
        return _HEIGHT * (self.high - height) / (self.high - self.low)


def _heights(lines: Sequence[Line], axes: Axes) -> tuple[float, float]:
    found = _numbers(lines)
    if not found:
        return 0.0, 1.0
    low, high = (0.0 if axes.from_zero else min(found)), max(found)
    spread = high - low
    if spread < _LEAST_SPREAD:
        spread = abs(high) or 1.0
    return (low if axes.from_zero else low - _MARGIN * spread), high + _MARGIN * spread


def _numbers(lines: Sequence[Line]) -> list[float]:
    return [height for line in lines for _, height in line.points if _is_number(height)]


def round_heights(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two others, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def _drawn(line: Line, frame: _Frame) -> Iterator[Html]:
    points = _thinned(line.points)
    path = "".join(_moves(points, frame))
    if path:
        yield tag("path", tag("title", line.name), d=path, class_=f"line {line.style}")
    if line.dots or sum(_is_number(height) for _, height in points) == 1:
        # A line of no length with round ends is a dot that no stretching of the picture turns into an ellipse.
        dots = "".join(f"M{frame.x(step):.1f} {frame.y(y):.2f}h0" for step, y in points if _is_number(y))
        yield tag("path", d=dots, class_=f"line-dots {line.style}")


def _moves(points: Sequence[Point], frame: _Frame) -> Iterator[str]:
    pen_down = False
    for step, height in points:
        if _is_number(height):
            yield f"{'L' if pen_down else 'M'}{frame.x(step):.1f} {frame.y(height):.2f}"
        pen_down = _is_number(height)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """No more points than can be told apart; the newest is always among them."""
    stride = -(-len(points) // _MOST_POINTS)
    return points if stride <= 1 else [*points[:-1:stride], points[-1]]


def _step_axis(last_step: int, *, small: bool) -> Html:
    ticks = [step for step in round_heights(0, last_step, 2 if small else 6) if step == int(step)]
    marks = (tag("span", f"{int(step):,}", style=f"left:{100 * step / last_step:.2f}%") for step in ticks)
    return tag("div", *marks, class_="line-steps", aria_hidden="true")


def _described(lines: Sequence[Line], axes: Axes) -> str:
    newest = ((line.name, [height for _, height in line.points if _is_number(height)]) for line in lines)
    said = [f"{name} {axes.written(heights[0])} to {axes.written(heights[-1])}" for name, heights in newest if heights]
    return f"{axes.unit} by optimizer step: {', '.join(said)}" if said else f"{axes.unit}: nothing yet"


def _is_number(height: float | None) -> TypeGuard[float]:
    return height is not None and math.isfinite(height)
