"""Every chart stands in one frame, with its figures as a table behind it."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from lora_explorer.memory import find_card
from lora_explorer.memory.result import PARTS
from lora_explorer.report import heat_map, kind_bars, loss_chart, memory_bar, preview_charts, step_curve, words
from lora_explorer.report.chart_frame import figures_table, framed_in_panel
from lora_explorer.report.preview_story import RunStory
from report.estimates import GIB, estimate
from report.plans import plan_of, rows_of_kinds

EVIL = "<img src=x>"
CHARTS = {
    "memory bar": lambda: memory_bar.memory_bar(estimate(), find_card("RTX 4090")),
    "step curve": lambda: step_curve.peak_explained(estimate()),
    "kinds": lambda: kind_bars.kind_bars(plan_of(4)),
    "layers": lambda: heat_map.heat_map(rows_of_kinds(4), 4),
    "loss": lambda: loss_chart.loss_chart(RunStory()),
    "runs": lambda: loss_chart.overlaid(()),
    "steps": lambda: preview_charts.step_figures(RunStory()),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_has_a_name_for_its_files_a_question_and_a_table(name: str) -> None:
    made = CHARTS[name]()
    figures = re.findall(r"<figure ([^>]*)>", made)
    assert figures
    assert all(re.search(r'data-name="[a-z0-9-]+"', about) for about in figures)
    assert all(re.search(r'aria-label="[^"]+\?"', about) for about in figures)
    assert made.count("chart-table") == made.count("<thead>") == len(figures)


def test_a_short_table_is_written_and_a_long_one_is_sent_as_it_is() -> None:
    short, long = (figures_table(("Step", "Size, GiB"), [(step, 1000.5) for step in range(n)]) for n in (3, 300))
    assert short.count("<tr>") == 4
    assert long.count("<tr>") == 1
    sent = re.search(r'data-rows="([^"]*)"', long)
    assert sent
    assert json.loads(unescape(sent[1]))[-1] == ["299", "1,000.5"]


def test_a_strangers_words_in_a_table_are_text_however_long_it_is() -> None:
    for rows in (1, 100):
        table = figures_table((EVIL,), [(EVIL,)] * rows)
        assert EVIL not in framed_in_panel(EVIL, EVIL, EVIL, table=table)


def test_the_table_of_the_step_holds_what_adds_up_to_what_is_alive() -> None:
    made = step_curve.peak_explained(estimate())
    rows = re.findall(r"<tr><th[^>]*>[^<]*</th>((?:<td>[\d.]+</td>)+)</tr>", made)
    assert len(rows) == len(estimate().curve)
    for row, point in zip(rows, estimate().curve, strict=True):
        alive, *parts = map(float, re.findall(r"[\d.]+", row))
        assert sum(parts) == pytest.approx(alive, abs=0.001 * len(PARTS))
        assert alive == pytest.approx(point.live_bytes / GIB, abs=0.001)


@pytest.mark.parametrize(
    ("value", "written"), [(0, "0"), (83_886_080, "83,886,080"), (0.25, "0.25"), (2e-05, "2e-05"), (1234.5, "1,234.5")]
)
def test_a_number_is_written_with_every_digit_that_counts(value: float, written: str) -> None:
    assert words.exact_number(value) == written
