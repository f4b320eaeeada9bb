"""Live bytes over one step, stacked by what they are for: an SVG of few paths, so that it follows a slider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from lora_explorer.memory.result import PARTS
from lora_explorer.report import moments, words
from lora_explorer.report.chart_frame import figures_table, framed_in_panel
from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.line_chart import round_heights
from lora_explorer.report.memory_bar import class_of

if TYPE_CHECKING:
    from lora_explorer.memory.result import CurvePoint, LargeStorage, MemoryEstimate

ASKS = "When in the step is the peak?"
_WIDTH, _HEIGHT = 1000.0, 100.0
_GIB = 1024**3
_TICKS = 6
# Stretches that are not layers are few among many: each keeps this share of the width, or that of a layer if wider.
_LEAST_SHARE = {"load": 0.09, "optimizer": 0.09}
_LEAST_SHARE_OUTSIDE = 0.02
# Room over the peak for its label, and under the lowest point of the step, as shares of what lies between.
_SPACE_ABOVE, _SPACE_BELOW = 0.3, 0.15
_NAMES = {"load": "loading", "forward": "forward", "backward": "backward", "optimizer": "optimizer"}


def peak_explained(estimate: MemoryEstimate) -> Html:
    """The way to the peak, and what is there then."""
    picture, table = step_curve(estimate), _table(estimate)
    drawn = framed_in_panel("memory-over-the-step", ASKS, "GiB alive at once", picture, _key(estimate), table=table)
    return join(drawn, peak_story(estimate))


def step_curve(estimate: MemoryEstimate) -> Html:
    """What is alive in every stretch of the run, and where the peak is."""
    points = estimate.curve
    edges = _edges(points)
    scale = _scale(estimate)
    number = _peak_number(estimate)
    peak_place = (edges[number] + edges[number + 1]) / 2
    picture = tag(
        "svg",
        *(tag("path", d=f"M0 {scale.level(tick):.2f}H{_WIDTH:g}", class_="curve-grid") for tick in scale.ticks),
        *_areas(points, edges, scale),
        *(tag("path", d=f"M{edge:.1f} 0V{_HEIGHT:g}", class_="curve-border") for edge in _borders(points, edges)),
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=_described(estimate),
        data_floor=scale.floor_bytes,
        data_top=scale.top_bytes,
    )
    floor = tag("span", f"GiB, from {words.gib(scale.floor_bytes)} up", class_="curve-floor")
    return tag(
        "div",
        tag("div", picture, _heights(scale), *_marker(estimate, peak_place), class_="curve-plot"),
        tag("div", *_phase_names(points, edges), class_="curve-axis"),
        floor,
        class_="curve",
    )


def _drawn_parts(estimate: MemoryEstimate) -> list[str]:
    """Those that are there at some time."""
    there = {part for point in estimate.curve for part, _ in point.parts}
    return [part for part in PARTS if part in there]


def _key(estimate: MemoryEstimate) -> Html:
    """What the colours mean, which on the page the memory bar tells."""
    entries = (
        tag("li", tag("i", class_=f"swatch {class_of(part)}", aria_hidden="true"), tag("span", part))
        for part in _drawn_parts(estimate)
    )
    return tag("ul", *entries, class_="line-legend in-file")


def _table(estimate: MemoryEstimate) -> Html:
    """Every stretch of the run; parts that are never there have no column."""
    points = [(point, {str(part): size for part, size in point.parts}) for point in estimate.curve]
    found = _drawn_parts(estimate)
    columns = ("Stretch", "Alive at once, GiB", *(f"{part[:1].upper()}{part[1:]}, GiB" for part in found))
    rows = (
        (
            moments.stretch_in_short(point.moment).capitalize(),
            words.gib(point.live_bytes, 3),
            *(words.gib(parts.get(part, 0), 3) for part in found),
        )
        for point, parts in points
    )
    return figures_table(columns, rows)


class _Scale(NamedTuple):
    """What the lower and the upper edge of the picture stand for."""

    floor_bytes: int
    top_bytes: int

    @property
    def ticks(self) -> list[int]:
        """Round heights between the edges, in bytes."""
        gibs = round_heights(self.floor_bytes / _GIB, self.top_bytes / _GIB, _TICKS)
        return [round(gib * _GIB) for gib in gibs]

    def level(self, height_bytes: int) -> float:
        """How far from the upper edge, in the picture's units; what lies under the floor is not drawn."""
        drawn = max(height_bytes - self.floor_bytes, 0)
        return _HEIGHT * (1 - drawn / (self.top_bytes - self.floor_bytes))


def _scale(estimate: MemoryEstimate) -> _Scale:
    """From a little below what is there all through the step: beside large weights nothing else could be seen."""
    lowest = min(point.live_bytes for point in estimate.curve if point.moment.phase != "load")
    between = max(estimate.peak_allocated_bytes - lowest, 1)
    return _Scale(
        max(lowest - round(_SPACE_BELOW * between), 0), estimate.peak_allocated_bytes + round(_SPACE_ABOVE * between)
    )


def peak_story(estimate: MemoryEstimate) -> Html:
    """When the peak comes, and what the largest pieces of memory are then."""
    rows = (_piece(storage) for storage in estimate.largest)
    when = tag("p", "Peak: ", tag("b", moments.peak_in_words(estimate)), class_="peak-when", id="peak-moment")
    return join(when, tag("p", "The largest pieces then:", class_="quiet-line"), tag("ul", *rows, class_="largest"))


def _piece(storage: LargeStorage) -> Html:
    """made: of what the step makes; the rest is there all the time."""
    stays = storage.made.phase in ("load", "optimizer") or storage.part == "workspaces"
    made = None if stays else tag("span", moments.stretch_in_short(storage.made), class_="made")
    swatch = tag("i", class_=f"swatch {class_of(storage.part)}", aria_hidden="true")
    said = moments.storage_in_words(storage)
    return tag("li", swatch, tag("span", said, class_="piece-name", title=said), made)


def _edges(points: Sequence[CurvePoint]) -> list[float]:
    """Where every stretch begins and the last one ends, from 0 to the full width."""
    layers = sum(point.moment.layer is not None for point in points)
    shares = [_least_share(point) for point in points]
    for_layers = 1 - sum(share for share in shares if share)
    widths = [share or for_layers / max(layers, 1) for share in shares]
    return [_WIDTH * edge / sum(widths) for edge in accumulate(widths, initial=0.0)]


def _least_share(point: CurvePoint) -> float:
    """0 for a layer, which gets its share of the rest."""
    if point.moment.layer is not None:
        return 0.0
    return _LEAST_SHARE.get(point.moment.phase, _LEAST_SHARE_OUTSIDE)


def _areas(points: Sequence[CurvePoint], edges: Sequence[float], scale: _Scale) -> Iterator[Html]:
    floor = [0] * len(points)
    for part in PARTS:
        sizes = [dict(point.parts).get(part, 0) for point in points]
        if not any(sizes):
            continue
        ceiling = [low + size for low, size in zip(floor, sizes, strict=True)]
        upper = _steps(ceiling, edges, scale)
        lower = _steps(floor, edges, scale)
        outline = "L".join(f"{x:.1f} {y:.2f}" for x, y in [*upper, *reversed(lower)])
        yield tag("path", tag("title", part), d=f"M{outline}z", class_=class_of(part))
        floor = ceiling


def _steps(heights: Sequence[int], edges: Sequence[float], scale: _Scale) -> list[tuple[float, float]]:
    """Corners of a line that is level through every stretch; equal neighbours share theirs."""
    corners: list[tuple[float, float]] = []
    start = 0
    for height, same in groupby(heights):
        end = start + len(list(same))
        level = scale.level(height)
        corners += [(edges[start], level), (edges[end], level)]
        start = end
    return corners


def _borders(points: Sequence[CurvePoint], edges: Sequence[float]) -> Iterator[float]:
    for number, (before, after) in enumerate(pairwise(points), 1):
        if before.moment.phase != after.moment.phase:
            yield edges[number]


def _phase_names(points: Sequence[CurvePoint], edges: Sequence[float]) -> Iterator[Html]:
    start = 0
    for phase, same in groupby(point.moment.phase for point in points):
        end = start + len(list(same))
        width = 100 * (edges[end] - edges[start]) / _WIDTH
        yield tag("span", _NAMES[phase], style=f"width:{width:.2f}%", class_=f"curve-{phase}")
        start = end


def _peak_number(estimate: MemoryEstimate) -> int:
    """The stretch of the peak among those that are drawn."""
    peak = estimate.peak
    same = (
        number
        for number, point in enumerate(estimate.curve)
        if (point.moment.phase, point.moment.place, point.moment.layer) == (peak.phase, peak.place, peak.layer)
    )
    return next(same, 0)


def _heights(scale: _Scale) -> Html:
    """What the horizontal lines stand for, in GiB, with as many digits as tell them apart."""
    ticks = scale.ticks
    steps = [after - before for before, after in pairwise(ticks)]
    digits = next((digits for digits in range(5) if all(step * 10**digits >= _GIB for step in steps)), 5)
    marks = (tag("span", words.gib(tick, digits), style=f"top:{scale.level(tick):.2f}%") for tick in ticks)
    return tag("div", *marks, class_="curve-heights", aria_hidden="true")


def _marker(estimate: MemoryEstimate, place: float) -> tuple[Html, Html]:
    at = f"left:{100 * place / _WIDTH:.2f}%"
    side = "peak-label before" if place > _WIDTH / 2 else "peak-label"
    label = f"peak {words.gib(estimate.peak_allocated_bytes)} GiB allocated"
    return tag("span", class_="peak-line", style=at), tag("span", label, class_=side, style=at)


def _described(estimate: MemoryEstimate) -> str:
    highest: dict[str, int] = {}
    for point in estimate.curve:
        highest[point.moment.phase] = max(highest.get(point.moment.phase, 0), point.live_bytes)
    peaks = ", ".join(f"{_NAMES[phase]} {words.gib(size)} GiB" for phase, size in highest.items())
    return f"Most bytes alive: {peaks}; the peak is in the {moments.peak_in_words(estimate)}."
