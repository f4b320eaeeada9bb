"""A sweep in words, as lines of text, as CSV, and as the table behind its picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_explorer.report import speed_words, words
from lora_explorer.report.html import Html, tag

if TYPE_CHECKING:
    from lora_explorer.exploration.axes import Axis
    from lora_explorer.exploration.card_ends import CardEnd
    from lora_explorer.exploration.prediction import Prediction
    from lora_explorer.exploration.sweep import Sweep, SweepPoint
    from lora_explorer.memory import Card, CardFit

Touches = Mapping[str, Any]
"""What widgets hold once a point is current, by the name of their setting."""

_UNKNOWN = "–"
_NONE = "none"
_WIDEST_PACE = len("123,000 – 456,000")


def axis_title(axis: Axis) -> str:
    """Sequence length (sequence_len), tokens."""
    unit = f", {axis.unit}" if axis.unit and axis.unit != axis.name else ""
    return f"{axis.label} ({axis.name}){unit}"


def sweep_title(sweep: Sweep) -> str:
    """Rank × Targets: 28 points."""
    return f"{' × '.join(axis.label for axis in sweep.axes)}: {words.counted(sweep.size, 'point')}"


def ends_in_words(sweep: Sweep, ends: Iterable[CardEnd]) -> tuple[str, ...]:
    """One sentence a card: the largest value along the axis that it holds, for each value of the other axis."""
    return tuple(_end_in_words(sweep, end) for end in ends)


def _end_in_words(sweep: Sweep, end: CardEnd) -> str:
    along = next(axis for axis in sweep.axes if axis.name == end.axis)
    others = [axis for axis in sweep.axes if axis is not along]
    reached = [_NONE if index is None else along.choices[index].label for index in end.largest]
    gaps = " In between there are values that do not fit." if end.gaps else ""
    if not end.holds_something:
        return f"{end.gpu}: holds none of these."
    if not end.gaps and all(index == len(along.choices) - 1 for index in end.largest):
        return f"{end.gpu}: holds all of these."
    if not others:
        return f"{end.gpu}: holds {along.name} up to {reached[0]}.{gaps}"
    listed = ", ".join(
        f"{choice.label}: {value}" for choice, value in zip(others[0].choices, reached, strict=True) if value
    )
    return f"{end.gpu}: holds {along.name} up to, by {others[0].name}: {listed}.{gaps}"


def cells_of(sweep: Sweep, point: SweepPoint) -> tuple[str, ...]:
    """A point as people read it, in the columns of `columns_of`: its speed where there is a card for it."""
    found = point.prediction
    return (
        *(choice.label for choice in sweep.choices_at(point.at)),
        _UNKNOWN if found.trainable_params is None else words.exact_count(found.trainable_params),
        _UNKNOWN if found.adapter_file_bytes is None else words.file_size(found.adapter_file_bytes),
        _UNKNOWN if found.process_bytes is None else f"{words.gib(found.process_bytes, 2)} GiB",
        *(_pace(found) for _ in sweep.cards[:1]),
        *(_verdict(found.fit_on(card.name)) for card in sweep.cards),
        found.problem,
    )


def columns_of(sweep: Sweep) -> tuple[str, ...]:
    return (
        *(axis.name for axis in sweep.axes),
        "Trainable parameters",
        "Adapter file",
        "Peak memory",
        *(_paced_on(card) for card in sweep.cards[:1]),
        *(card.name for card in sweep.cards),
        "",
    )


def _paced_on(card: Card) -> str:
    return f"Tokens/s, {card.name}"


def _pace(found: Prediction) -> str:
    return _UNKNOWN if found.pace is None else speed_words.tokens_per_second(found.pace.likely)


def _verdict(fit: CardFit | None) -> str:
    return _UNKNOWN if fit is None else fit.verdict


def sweep_head(sweep: Sweep) -> str:
    """The heads of the columns of `sweep_line`."""
    return _aligned(sweep, columns_of(sweep))


def sweep_line(sweep: Sweep, point: SweepPoint) -> str:
    """A point as one line of a terminal; columns are as wide as all their values need."""
    return _aligned(sweep, cells_of(sweep, point))


def _aligned(sweep: Sweep, cells: Sequence[str]) -> str:
    widths = [max(len(axis.name), *(len(choice.label) for choice in axis.choices)) for axis in sweep.axes]
    widths += [20, 12, 12, *(max(len(_paced_on(card)), _WIDEST_PACE) for card in sweep.cards[:1])]
    widths += [max(len(card.name), 12) for card in sweep.cards]
    *columns, last = cells
    first = len(sweep.axes)
    written = [
        cell.ljust(width) if number < first else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(columns, widths, strict=True))
    ]
    return "  ".join([*written, last]).rstrip()


def csv_head(sweep: Sweep) -> str:
    """The first line of a sweep as CSV, with its end of line."""
    of_cards = [f"{card.name} {what}" for card in sweep.cards for what in ("verdict", "headroom_bytes")]
    return _csv_line(
        [
            *(axis.name for axis in sweep.axes),
            "trainable_params",
            "adapter_file_bytes",
            "scaling",
            "process_bytes",
            "tokens_per_second_low",
            "tokens_per_second_high",
            *of_cards,
            "problem",
        ]
    )


def csv_line(sweep: Sweep, point: SweepPoint) -> str:
    """A point as CSV: whole numbers of bytes and parameters, nothing where something is not known."""
    found = point.prediction
    fits = [found.fit_on(card.name) for card in sweep.cards]
    of_cards = [cell for fit in fits for cell in ((fit.verdict, fit.headroom_bytes) if fit else (None, None))]
    low, high = found.pace.likely if found.pace else (None, None)
    return _csv_line(
        [
            *(choice.name for choice in sweep.choices_at(point.at)),
            found.trainable_params,
            found.adapter_file_bytes,
            found.scaling,
            found.process_bytes,
            low,
            high,
            *of_cards,
            found.problem,
        ]
    )


def sweep_csv(sweep: Sweep, points: Iterable[SweepPoint]) -> str:
    """The whole sweep, in the order of its axes."""
    ordered = sorted(points, key=lambda point: point.at)
    return csv_head(sweep) + "".join(csv_line(sweep, point) for point in ordered)


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def sweep_table(
    sweep: Sweep,
    points: Iterable[SweepPoint],
    touches: Callable[[SweepPoint], Touches] = lambda point: point.changes,
) -> Html:
    """The table behind the picture: one row a point, each with a button that makes it current.

    touches: what pressing it does to the widgets; the page's script reads it.
    """
    ordered = sorted(points, key=lambda point: point.at)
    heads = (tag("th", head, scope="col") for head in (*columns_of(sweep)[:-1], ""))
    caption = tag("caption", sweep_title(sweep))
    rows = (_table_row(sweep, point, touches(point)) for point in ordered)
    return tag("table", caption, tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="sweep-table")


def _table_row(sweep: Sweep, point: SweepPoint, touches: Touches) -> Html:
    *cells, problem = cells_of(sweep, point)
    axes = len(sweep.axes)
    heads = (tag("th", cell, scope="row") for cell in cells[:axes])
    if point.prediction.trainable_params is None:
        refused = tag("td", problem, colspan=len(cells) - axes + 1)
        return tag("tr", *heads, refused, class_="refused")
    named = ", ".join(cells[:axes])
    button = tag(
        "button",
        "Use",
        type="button",
        class_="saving use-point",
        aria_label=f"Use {named}",
        data_touches=json.dumps(touches),
    )
    return tag("tr", *heads, *(tag("td", cell, class_="number") for cell in cells[axes:]), tag("td", problem, button))
