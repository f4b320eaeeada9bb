"""The small pictures beside the loss: how fast, how much memory, how steep, how large the steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lora_explorer.preview.events import Step
from lora_explorer.report import words
from lora_explorer.report.chart_frame import figures_table, framed_in_panel
from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.line_chart import Axes, Line, line_chart
from lora_explorer.report.preview_story import RunStory

_GIB = 1024**3


@dataclass(frozen=True)
class _Figure:
    """One figure of a step. name: its field. question: what its picture answers."""

    name: str
    question: str
    unit: str
    height_of: Callable[[Step], float | None]
    written: Callable[[float], str] = words.short_number


_FIGURES = (
    _Figure("tokens_per_second", "How fast?", "tokens a second", lambda step: step.tokens_per_second),
    _Figure("memory_bytes", "How much memory?", "GiB", lambda step: step.memory_bytes / _GIB),
    _Figure("learning_rate", "How large are the steps?", "learning rate", lambda step: step.learning_rate, words.power),
    _Figure("grad_norm", "How steep is the slope?", "gradient norm", lambda step: step.grad_norm),
)


def step_figures(story: RunStory) -> Html:
    """One small picture for each figure, its newest value beside the title."""
    return tag("div", *(_picture(figure, story) for figure in _FIGURES), class_="figures")


def _picture(figure: _Figure, story: RunStory) -> Html:
    points = tuple((step.step, figure.height_of(step)) for step in story.steps)
    newest = next((height for _, height in reversed(points) if height is not None), None)
    axes = Axes(figure.unit, figure.written, story.axis_steps, from_zero=True)
    value = tag("b", figure.written(newest)) if newest is not None else None
    title = tag("div", tag("h3", figure.question), tag("span", join(value, " ", figure.unit)), class_="figure-title")
    exact = getattr(story.steps[-1], figure.name) if story.steps else None
    chart = line_chart((Line(figure.unit, points, "smooth"),), axes, small=True)
    name = figure.name.replace("_", "-")
    table = figures_table(("Step", f"{figure.unit[:1].upper()}{figure.unit[1:]}"), points)
    drawn = framed_in_panel(name, figure.question, figure.unit, title, chart, table=table)
    return tag("div", drawn, class_="figure", id=f"preview-{name}", data_value=exact)
