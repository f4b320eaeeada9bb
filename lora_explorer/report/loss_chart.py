"""Is it learning? The loss of one run, or of several laid over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.chart_frame import figures_table, framed_in_panel
from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.line_chart import Axes, Line, Point, legend, line_chart, smoothed
from lora_explorer.report.preview_story import RunStory
from lora_explorer.report.run_list import run_name

if TYPE_CHECKING:
    from lora_explorer.preview.supervision.history import LossCurve

LEARNING_ASKS, OVERLAY_ASKS = "Is it learning?", "Which one learns best?"
_AVERAGE, _ASIDE = "moving average", "rows kept aside"
LOSS_UNIT = "loss · nats a token"
SHAPE_HAS_NO_LOSS = (
    "Random weights have no loss worth showing: this run measures memory and speed. "
    "Choose weights that can be had to see whether the configuration learns."
)
_NO_LOSS_YET = "The first point comes with the first step."
_NO_LOSS = "The run ended before its first step."


def loss_chart(story: RunStory) -> Html:
    """Each step's loss, its moving average, and the loss over the rows kept aside. Random weights have none."""
    if not story.loss_means_something:
        return _whole(story, tag("p", SHAPE_HAS_NO_LOSS, class_="no-loss"))
    raw = _losses(story)
    lines = (
        Line("each step", raw, "raw"),
        Line(_AVERAGE, smoothed(raw), "smooth"),
        Line(_ASIDE, _eval_losses(story), "eval", dots=True),
    )
    chart = line_chart(lines, Axes(LOSS_UNIT, words.short_number, story.axis_steps))
    drawn = framed_in_panel("loss", LEARNING_ASKS, "", chart, legend(lines), table=_table(lines))
    return _whole(story, drawn, _last_words(story))


def _table(lines: Sequence[Line]) -> Html:
    """A row a step, a column a line."""
    heights = [dict(line.points) for line in lines]
    steps = sorted({step for of_line in heights for step in of_line})
    rows = ((step, *(_loss(of_line.get(step)) for of_line in heights)) for step in steps)
    return figures_table(("Step", *(f"Loss, {line.name}" for line in lines)), rows)


def _loss(height: float | None) -> str | None:
    return None if height is None else f"{height:.4f}"


def overlaid(curves: Sequence[LossCurve]) -> Html:
    """The moving averages of several runs, and dots where the rows kept aside were looked at."""
    shown = [curve for curve in curves if curve.losses]
    names = [run_name(curve.title, curve.run) for curve in shown]
    averages = [
        Line(name, smoothed(sorted(curve.losses.items())), f"series series-{number}")
        for number, (name, curve) in enumerate(zip(names, shown, strict=True))
    ]
    aside = [
        Line(f"{name}, {_ASIDE}", tuple(sorted(curve.eval_losses.items())), f"series aside series-{number}", True)
        for number, (name, curve) in enumerate(zip(names, shown, strict=True))
    ]
    steps = max((max(curve.losses) for curve in shown), default=1)
    chart = line_chart([*averages, *aside], Axes(LOSS_UNIT, words.short_number, steps))
    without = len(curves) - len(shown)
    note = f" {words.counted(without, 'picked run')} without a loss." if without else ""
    named = legend(averages) if averages else None
    table = _table([*averages, *aside])
    drawn = framed_in_panel("losses-of-runs", OVERLAY_ASKS, "moving averages", chart, named, table=table)
    return tag(
        "div",
        drawn,
        tag("p", f"{_OVERLAY_NOTE if shown else _NOTHING_PICKED}{note}", class_="quiet-line"),
        id="preview-overlay",
        data_value=len(shown),
    )


_OVERLAY_NOTE = "Lines: moving average of the training loss. Dots: loss over the rows kept aside."
_NOTHING_PICKED = "Pick runs in the list below to lay their losses over each other."


def _whole(story: RunStory, *content: object) -> Html:
    """What a reader of the page finds by its id: the newest loss, and after which step it was."""
    losses = [step.loss for step in story.steps if step.loss is not None]
    return tag(
        "div",
        *content,
        id="preview-loss",
        data_value=losses[-1] if losses else None,
        data_step=story.done_steps,
        data_points=len(losses),
        data_evaluations=len(story.evaluations),
    )


def _losses(story: RunStory) -> tuple[Point, ...]:
    return tuple((step.step, step.loss) for step in story.steps)


def _eval_losses(story: RunStory) -> tuple[Point, ...]:
    return tuple((evaluation.step, evaluation.eval_loss) for evaluation in story.evaluations)


def _last_words(story: RunStory) -> Html:
    """The newest figures in a line that is always there."""
    average = smoothed(_losses(story))
    if not average:
        return tag("p", _NO_LOSS if story.is_over else _NO_LOSS_YET, class_="quiet-line")
    figures: Mapping[str, float | None] = {
        "first": average[0][1],
        "now": average[-1][1],
        _ASIDE: story.evaluations[-1].eval_loss if story.evaluations else None,
    }
    said = " · ".join(f"{name} {value:.3f}" for name, value in figures.items() if value is not None)
    return tag("p", join(said), class_="quiet-line")
