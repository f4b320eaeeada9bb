"""How the kept previews of the same settings learned, laid over each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.chart_frame import figures_table, framed
from lora_explorer.report.comparison import Column
from lora_explorer.report.comparison_charts import style_of
from lora_explorer.report.html import Html, tag
from lora_explorer.report.line_chart import Axes, Line, legend, line_chart, smoothed
from lora_explorer.report.loss_chart import LOSS_UNIT
from lora_explorer.report.run_list import run_name

if TYPE_CHECKING:
    from lora_explorer.preview.supervision.history import LossCurve

_ASKS = "Which one learns best?"
_UNIT = "moving average of the training loss"
_HOW = "Set it as current, open Preview and press Start; the run that is kept then is drawn here."
NO_RUNS = f"No kept run has the settings of one of these. {_HOW}"
_MIXED = "These runs are of different weights or data, or of another number of steps: their losses say little together."


def losses_chart(columns: Sequence[Column], curves: Mapping[int, LossCurve]) -> Html:
    """curves: by the place of the column whose settings the run had."""
    if not curves:
        return tag(
            "section",
            tag("div", tag("h3", _ASKS), class_="chart-asks"),
            tag("p", NO_RUNS, class_="quiet-line"),
            class_="chart-missing",
        )
    lines = [_line(columns[place], curve) for place, curve in curves.items()]
    steps = max(max(curve.losses) for curve in curves.values())
    chart = line_chart(lines, Axes(LOSS_UNIT, words.short_number, steps))
    notes = (tag("p", sentence, class_="quiet-line") for sentence in _notes(columns, curves))
    table = figures_table(
        ("Configuration", "Run", "Steps", "First loss", "Last loss"),
        [_figures(columns[place], curve) for place, curve in curves.items()],
    )
    return framed("compare-losses", _ASKS, _UNIT, chart, legend(lines), *notes, table=table)


def _line(column: Column, curve: LossCurve) -> Line:
    name = f"{column.sign} {column.name} · {run_name(curve.title, curve.run)}"
    return Line(name, smoothed(sorted(curve.losses.items())), f"series {style_of(column)}")


def _figures(column: Column, curve: LossCurve) -> tuple[str, ...]:
    ordered = sorted(curve.losses)
    first, last = (f"{curve.losses[step]:.3f}" for step in (ordered[0], ordered[-1]))
    return f"{column.sign} {column.name}", run_name(curve.title, curve.run), f"{ordered[-1]:,}", first, last


def _notes(columns: Sequence[Column], curves: Mapping[int, LossCurve]) -> Iterator[str]:
    about = {(curve.title.partition(",")[0], max(curve.losses)) for curve in curves.values()}
    if len(about) > 1:
        yield _MIXED
    without = [column.name for place, column in enumerate(columns) if place not in curves and column.recipe]
    if without:
        yield f"No kept run has the settings of {_listed(without)}. {_HOW}"


def _listed(names: Sequence[str]) -> str:
    *rest, last = (f"“{name}”" for name in names)
    return f"{', '.join(rest)} or {last}" if rest else last
