"""A sweep as the page shows it while it comes: a frame that is written once, parts that are filled in, and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lora_explorer.report import speed_words, verdicts, words
from lora_explorer.report.html import Html, tag
from lora_explorer.report.sweep_curve import curve_frame, curve_legend, curve_parts, is_curves
from lora_explorer.report.sweep_map import colours, has_figures, lines_of_cards, map_frame, map_parts, scale_part
from lora_explorer.report.sweep_picture import end_class, name_of
from lora_explorer.report.sweeps import Touches, ends_in_words, sweep_table, sweep_title

if TYPE_CHECKING:
    from lora_explorer.exploration.card_ends import CardEnd
    from lora_explorer.exploration.sweep import Sweep, SweepPoint
    from lora_explorer.memory import CardFit

TABLE_LATER = "The table comes with the last point."
HOLLOW = "A hollow point needs more than {} has."
RED = "A figure in red is more than {} has."


def sweep_frame(sweep: Sweep) -> Html:
    """Everything but the figures. Parts have names, under which `sweep_parts` and `closing_parts` fill them in."""
    picture = curve_frame(sweep) if is_curves(sweep) else map_frame(sweep)
    caption = f"{sweep_title(sweep)} of {sweep.base_model.label}, all else as it was set"
    said = HOLLOW if is_curves(sweep) else RED if has_figures(sweep) else ""
    key = tag("p", said.format(sweep.cards[0].name), class_="quiet-line") if sweep.cards and said else None
    later = tag("p", TABLE_LATER, class_="quiet-line")
    table = tag("details", tag("summary", "Table"), tag("div", later, data_part="table"), class_="chart-table")
    return tag(
        "figure",
        tag("figcaption", caption),
        curve_legend(sweep) if is_curves(sweep) else None,
        # What is wider than its place is scrolled, by the keyboard too.
        tag("div", picture, class_="sweep-scroll"),
        None if is_curves(sweep) else tag("div", class_="sweep-scale", data_part="scale"),
        tag("div", class_="sweep-told"),
        key,
        tag("ul", class_="card-ends", data_part="card-ends"),
        table,
        class_="chart sweep",
        data_name="sweep-" + "-".join(axis.name for axis in sweep.axes),
    )


def sweep_parts(sweep: Sweep, points: Sequence[SweepPoint], ends: Sequence[CardEnd] = ()) -> dict[str, Html]:
    """The picture's parts by their names. ends: once every point is there."""
    return curve_parts(sweep, points, ends) if is_curves(sweep) else map_parts(sweep, points, ends)


def sweep_scale(sweep: Sweep, points: Sequence[SweepPoint]) -> dict[str, Html]:
    """The part of a map that changes with every point. points: all there are."""
    return {} if is_curves(sweep) else scale_part(points)


def sweep_colours(sweep: Sweep, points: Sequence[SweepPoint]) -> Mapping[str, str]:
    """Custom properties that a map's colours lie between."""
    return {} if is_curves(sweep) else colours(points)


def closing_parts(
    sweep: Sweep, points: Sequence[SweepPoint], ends: Sequence[CardEnd], touches: Callable[[SweepPoint], Touches]
) -> dict[str, Html]:
    """What comes when no further point does: the table behind the picture, and where each card ends in a sentence."""
    # In curves a card's name stands at its line.
    lines = {} if is_curves(sweep) else lines_of_cards(sweep, points, ends)
    drawn = {gpu: gpus[0] for gpus in lines.values() for gpu in gpus}
    said = (
        tag("li", None if is_curves(sweep) else _swatch(sweep, drawn.get(end.gpu, "")), tag("span", sentence))
        for end, sentence in zip(ends, ends_in_words(sweep, ends), strict=True)
    )
    return {"table": sweep_table(sweep, points, touches), "card-ends": Html("".join(said))}


def told(sweep: Sweep, points: Sequence[SweepPoint]) -> dict[str, tuple[str, ...]]:
    """Sentences about each point by its place: its values, its figures, what cards say to it or what is wrong."""
    return {name_of(point.at): _told(sweep, point) for point in points}


def _told(sweep: Sweep, point: SweepPoint) -> tuple[str, ...]:
    found = point.prediction
    named = zip(sweep.axes, sweep.choices_at(point.at), strict=True)
    name = ", ".join(f"{axis.name} {choice.label}" for axis, choice in named)
    if found.trainable_params is None:
        return name, found.problem
    figures = [f"{words.exact_count(found.trainable_params)} trainable parameters"]
    if found.process_bytes is not None:
        figures.insert(0, f"{words.gib(found.process_bytes, 2)} GiB peak memory")
    if found.pace:
        figures.append(f"{speed_words.tokens_per_second(found.pace.likely)} tokens/s on {sweep.cards[0].name}")
    verdicts = "; ".join(_verdict(fit) for fit in found.fits)
    return tuple(line for line in (name, " · ".join(figures), found.problem or verdicts) if line)


def _verdict(fit: CardFit) -> str:
    # On this card it needs less than on the first one, whose peak is told.
    how = f", {verdicts.headroom_in_words(fit)}" if fit.gives_cache_back else ""
    return f"{fit.gpu}: {fit.verdict}{how}"


def _swatch(sweep: Sweep, gpu: str) -> Html:
    """Of the card's line; empty where it has none, so that sentences stand under each other."""
    line = tag("line", x1=0, x2=26, y1=6, y2=6)
    drawn = tag("g", line, class_=end_class(sweep, gpu)) if gpu else None
    return tag("svg", drawn, width=26, height=12, aria_hidden="true")
