"""Pictures and sentences of a run: true to its numbers, told in its words, safe to show."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from lora_explorer.preview import events as told
from lora_explorer.preview.data import DataTable, Piece, TableRow
from lora_explorer.preview.supervision.history import LossCurve, RunSummary
from lora_explorer.report import (
    loss_chart,
    preview_charts,
    preview_data,
    preview_memory,
    preview_progress,
    preview_samples,
    run_list,
)
from lora_explorer.report.line_chart import Axes, Line, line_chart, smoothed
from lora_explorer.report.preview_story import RunStory, story_of
from report.test_preview_story import RUN, STARTED, step

EVIL = "<img src=x onerror=alert(1)>"
SUMMARY = RunSummary(
    id="20260101-120304-abcdef01",
    at=0.0,
    title=EVIL,
    status="finished",
    base_model="m",
    data="d",
    steps_done=3,
    steps=4,
    last_loss=1.25,
    peak_bytes=1 << 30,
    device="CPU",
)


def heights(chart: str, style: str) -> list[float]:
    """The vertical places of a line's points, from the top."""
    path = re.search(rf'd="([^"]*)" class="line {style}"', chart)
    assert path is not None
    return [float(pair.split()[1]) for pair in re.findall(r"[ML]([^ML]+)", path.group(1))]


def test_a_higher_value_stands_higher_in_the_picture() -> None:
    chart = line_chart([Line("a", ((1, 3.0), (2, 1.0), (3, 2.0)), "smooth")], Axes("u", str, 3))
    first, second, third = heights(chart, "smooth")
    assert first < third < second


def test_a_gap_breaks_the_line_instead_of_being_drawn_as_a_number() -> None:
    chart = line_chart(
        [Line("a", ((1, 3.0), (2, None), (3, float("nan")), (4, 2.0), (5, 1.0)), "smooth")], Axes("u", str, 5)
    )
    assert len(re.findall("M", re.search(r'd="([^"]*)" class="line smooth"', chart).group(1))) == 2  # type: ignore[union-attr]
    assert "nan" not in chart.lower()


def test_a_long_run_is_drawn_with_few_points_and_ends_at_its_newest() -> None:
    points = tuple((number, float(number)) for number in range(1, 10_001))
    chart = line_chart([Line("a", points, "smooth")], Axes("u", str, 10_000))
    assert len(chart) < 40_000
    assert "L1000.0 " in chart


@pytest.mark.parametrize("points", [(), ((1, 2.0),), ((1, 0.0), (2, 0.0))])
def test_few_or_equal_points_make_a_picture_too(points: tuple[tuple[float, float | None], ...]) -> None:
    assert "<svg" in line_chart([Line("a", points, "smooth")], Axes("u", str, 0))


def test_the_moving_average_of_equal_values_is_that_value_from_the_first_on() -> None:
    assert [value for _, value in smoothed([(number, 2.5) for number in range(6)])] == pytest.approx([2.5] * 6)


def test_the_newest_loss_and_the_counts_are_there_to_be_read() -> None:
    chart = loss_chart.loss_chart(story_of(RUN))
    assert 'id="preview-loss" data-value="2.0" data-step="3" data-points="3" data-evaluations="1"' in chart


def test_random_weights_show_no_curve_but_say_why() -> None:
    chart = loss_chart.loss_chart(story_of([STARTED, step(1, loss=None)]))
    assert "<svg" not in chart
    assert loss_chart.SHAPE_HAS_NO_LOSS in chart
    assert "data-value" not in chart


def test_every_run_laid_over_others_has_a_colour_and_a_name_of_its_own() -> None:
    curves = [LossCurve(f"20260101-12030{n}-abcdef01", "same title", {1: 2.0, 2: 1.0 + n}, {2: 1.5}) for n in range(7)]
    picture = loss_chart.overlaid(curves)
    legend = picture[picture.index("line-legend") :]
    assert len(set(re.findall(r"series-\d", legend))) == 7
    assert len(set(re.findall(r"<span>([^<]*)</span>", legend))) == 7


def test_a_waiting_run_says_its_place_and_a_failed_one_what_to_change() -> None:
    waiting = story_of([told.Waiting(place=3)])
    assert "place 3" in preview_progress.sentence_of(waiting)
    failed = story_of([told.Failed(message="It ran out.", suggestion="Halve the batch.")], story_of(RUN))
    assert preview_progress.sentence_of(failed) == "It ran out. Halve the batch."


def test_a_run_says_which_it_is_in_a_line_that_is_always_there() -> None:
    name = run_list.run_name("rank 8", SUMMARY.id)
    assert name == "rank 8 · 1 Jan 12:03:04"
    assert f'class="run-name">{name}<' in preview_progress.progress(story_of(RUN), name)
    assert 'class="run-name"' in preview_progress.progress(None)


def test_a_run_that_ended_early_promises_nothing_any_more() -> None:
    running, over = story_of(RUN), story_of([*RUN, told.Stopped(steps=3)])
    for picture in (preview_memory.memory_outcome, preview_samples.samples):
        assert "at the end" in picture(running).lower()
        assert "ended before" in picture(over)
    assert "ended before its first step" in loss_chart.loss_chart(story_of([STARTED, told.Stopped(steps=0)]))


def test_a_run_that_finished_without_samples_or_measurement_is_not_said_to_have_ended_early() -> None:
    finished = story_of([*RUN, told.Finished(steps=4, seconds=1.0)])
    for picture in (preview_memory.memory_outcome, preview_samples.samples):
        said = picture(finished)
        assert "The run is over" in said
        assert "ended before" not in said


@pytest.mark.parametrize(
    ("kept", "said"),
    [(3, "so far is kept."), (2, "had learnt after 2 steps is kept."), (0, "too long"), (None, "3 steps.")],
)
def test_a_stopped_run_says_what_of_it_is_kept(kept: int | None, said: str) -> None:
    stopped = story_of([*RUN, told.Stopped(steps=3, kept_steps=kept)])
    assert said in preview_progress.sentence_of(stopped)


def test_progress_counts_steps_done_of_those_planned() -> None:
    bar = preview_progress.progress(story_of(RUN))
    assert 'data-value="3" data-total="4"' in bar
    assert "width:75.00%" in bar


def test_every_figure_of_a_step_has_a_picture_with_its_exact_value() -> None:
    figures = preview_charts.step_figures(story_of(RUN))
    for name, value in (("memory-bytes", 1 << 30), ("learning-rate", 1e-4), ("tokens-per-second", 100.0)):
        assert f'id="preview-{name}" data-value="{value}"' in figures


def test_the_difference_in_memory_is_explained_by_the_part_that_makes_it() -> None:
    predicted = {"base weights": 600 << 20, "gradients": 400 << 20}
    measured = told.Measured(
        measured={"peak_allocated_bytes": 1050 << 20},
        predicted={"peak_allocated_bytes": 1000 << 20},
        predicted_parts=predicted,
        measured_parts={**predicted, "gradients": 450 << 20},
    )
    said = preview_memory.explanation(measured)
    assert "+5.00 %" in said
    assert "gradients: +50 MiB" in said
    equal = replace(measured, measured=measured.predicted, measured_parts=predicted)
    assert "Most of it" not in preview_memory.explanation(equal)


def table(**changes: object) -> DataTable:
    pieces = (Piece("ask", False), Piece(EVIL, True), Piece("\n", True))
    row = TableRow(1, pieces, length_tokens=9, trained_tokens=2, hidden_tokens=6, is_cut=True, use="train")
    counts = dict.fromkeys(("evaluation_rows", "long_rows", "untrained_rows"), 0)
    known = DataTable("mine", "alpaca", (row,), 5, 5, cut_rows=1, longest_tokens=9, median_tokens=9, tokens=45,
                      trained_tokens=10, **counts)  # fmt: skip
    return replace(known, **changes)  # type: ignore[arg-type]


def test_tokens_that_are_trained_on_are_marked_and_the_others_are_not() -> None:
    shown = preview_data.data_table(table(), 3)
    rows = shown[shown.index('class="data-rows"') :]
    assert re.findall(r"<mark[^>]*>(.*?)</mark>", rows, re.S) == [
        "<span>&lt;img src=x onerror=alert(1)&gt;</span><span>↵\n</span>"
    ]
    assert "cut at 3 tokens" in shown


def test_nothing_to_train_on_is_told_where_the_rows_are_shown() -> None:
    assert "All is read." in preview_data.data_table(table(problem="All is read."), 3)


def test_texts_of_models_and_strangers_are_never_html() -> None:
    sample = told.Sample(prompt=EVIL, before=EVIL, after=EVIL, expected=EVIL)
    story = story_of([told.Log(message=EVIL), told.Stage(message=EVIL), sample], RunStory())
    shown = [
        preview_samples.samples(story),
        preview_progress.log_lines(story),
        preview_progress.progress(story),
        preview_data.data_table(table(), 3),
        run_list.run_list([SUMMARY]),
        loss_chart.overlaid([LossCurve(SUMMARY.id, EVIL, {1: 2.0}, {})]),
    ]
    assert not any("<img" in html for html in shown)


def test_a_picked_run_stays_picked_and_each_can_be_opened_and_deleted() -> None:
    rows = run_list.run_list([SUMMARY, replace(SUMMARY, id="20260102-120304-abcdef01")], picked={SUMMARY.id})
    assert rows.count(" checked") == 1
    assert rows.count('data-run-ask="open"') == rows.count('data-run-ask="remove"') == 2
    assert "1 Jan 12:03:04" in rows
