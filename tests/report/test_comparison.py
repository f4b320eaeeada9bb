"""Configurations side by side: rows that differ, figures, marks, names, and the pictures with their tables."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.exploration.comparison import Figures
from lora_explorer.exploration.pace import Pace
from lora_explorer.memory import find_card
from lora_explorer.preview.supervision.history import LossCurve
from lora_explorer.report.bar_chart import Bar, BarAxis, Piece, bar_chart
from lora_explorer.report.comparison import Column, Row, common_rows, figure_rows, setting_rows
from lora_explorer.report.comparison_charts import adapter_chart, cost_chart, memory_chart, params_chart
from lora_explorer.report.comparison_losses import losses_chart
from lora_explorer.report.comparison_start import nothing_pinned
from lora_explorer.report.comparison_table import comparison
from lora_explorer.report.comparison_terminal import show_comparison
from lora_explorer.report.scatter_chart import Dot, ScatterAxes, scatter_chart
from lora_explorer.report.setting_words import differing_settings, propose_name, value_in_words
from lora_explorer.settings import SETTINGS, Recipe, recipe_from
from lora_explorer.speed import Range
from tests.report.estimates import GIB, fit

CARD = find_card("RTX 4090")
MODEL = "NousResearch/Meta-Llama-3-8B"
WHOLE = Figures(
    trainable_params=8_000_000,
    trainable_percent=0.1,
    adapter_file_bytes=16 << 20,
    scaling=2.0,
    process_bytes=21 * GIB,
    parts=(("base weights", 15 * GIB), ("adapter", 5 * GIB), ("workspaces", 0), ("CUDA context", GIB)),
    fit=fit(20 * GIB),
    pace=Pace(Range(1000.0, 2000.0), 1500.0),
)


def recipe(**values: Any) -> Recipe:
    return recipe_from({"base_model": MODEL, "adapter": "lora", "lora_r": 8, "lora_alpha": 16, **values})


def column(at: int, figures: Figures = WHOLE, **values: Any) -> Column:
    sign = str(at) if at else "●"
    return Column(f"name {at}", recipe(**values), figures, sign, is_on_screen=at == 0)


def row(columns: list[Column], name: str) -> Row:
    return next(each for each in figure_rows(columns, on_card=True) if each.name == name)


def best(columns: list[Column], name: str) -> list[bool]:
    return [cell.is_best for cell in row(columns, name).cells]


def shown(columns: list[Column], **curves: LossCurve) -> str:
    return comparison(columns, CARD, {int(key[1:]): curve for key, curve in curves.items()}, room=3)


def test_settings_differ_or_are_common_and_none_is_lost() -> None:
    columns = [column(0), column(1, lora_r=16), column(2, peft_use_dora=True)]
    apart = [each.key for each in setting_rows(columns)]
    common = [each.key for each in common_rows(columns)]
    assert apart == ["lora_r", "peft_use_dora"]
    assert sorted((*apart, *common)) == sorted(setting.key for setting in SETTINGS.values())
    assert [cell.text for cell in setting_rows(columns)[0].cells] == ["8", "16", "8"]


def test_a_default_that_is_written_down_does_not_differ_from_an_absent_key() -> None:
    default = SETTINGS["lora_dropout"].default
    assert differing_settings((recipe(), recipe(lora_dropout=default))) == ()


def test_a_column_that_cannot_be_read_changes_nothing_for_the_others() -> None:
    unread = Column("bad", None, Figures(problem="It cannot be read."), "2")
    columns = [column(0), column(1, lora_r=16), unread]
    (rank,) = setting_rows(columns)
    assert [cell.text for cell in rank.cells] == ["8", "16", "not known"]
    assert shown(columns).count("It cannot be read.") == 1
    assert setting_rows([unread]) == common_rows([unread]) == ()


def test_what_comes_later_is_told_from_what_is_not_known() -> None:
    waiting = replace(WHOLE, process_bytes=None, parts=(), fit=None, pace=None)
    never = replace(waiting, problem="No trace.")
    bound = replace(never, at_least_bytes=30 * GIB)
    peaks = row([column(0, waiting), column(1, never), column(2, bound)], "peak-memory").cells
    assert [cell.text for cell in peaks] == ["…", "not known", "≥ 30.0 GiB"]
    assert [cell.value for cell in peaks] == [None, None, None]


def test_the_best_is_marked_and_among_equals_none_is() -> None:
    less = replace(WHOLE, process_bytes=20 * GIB, adapter_file_bytes=8 << 20, pace=Pace(Range(500.0, 900.0), 700.0))
    assert best([column(0), column(1, less)], "peak-memory") == [False, True]
    assert best([column(0), column(1, less)], "adapter-file") == [False, True]
    assert best([column(0), column(1, less)], "tokens-per-second") == [True, False]
    assert best([column(0), column(1, less), column(2, less)], "peak-memory") == [False, True, True]
    assert best([column(0), column(1)], "peak-memory") == [False, False]
    assert best([column(0), column(1, less)], "trainable-params") == [False, False]


def test_speeds_that_nobody_could_tell_apart_are_equals() -> None:
    hardly = replace(WHOLE, pace=Pace(Range(1010.0, 2010.0), 1510.0))
    assert best([column(0), column(1, hardly)], "tokens-per-second") == [False, False]


def test_verdict_and_speed_are_rows_only_where_there_is_a_card() -> None:
    without = {each.name for each in figure_rows([column(0)], on_card=False)}
    assert {each.name for each in figure_rows([column(0)], on_card=True)} - without == {
        "fits",
        "headroom",
        "tokens-per-second",
    }


def test_exact_figures_stand_in_the_cells() -> None:
    html = shown([column(0), column(1, lora_r=16)])
    assert html.count('data-value="8000000"') == 2
    assert html.count(f'data-value="{21 * GIB}"') == 2


def test_what_is_on_screen_offers_to_pin_it_and_a_pin_that_is_on_screen_says_so() -> None:
    html = shown([column(0), column(1), column(2, lora_r=16)])
    assert html.count('data-pin-ask="pin"') == 1
    assert re.findall(r'data-pin-ask="use" data-pin="(\d)"', html) == ["1"]
    assert html.count('class="pin-same"') == 1


def test_the_first_pin_moves_no_further_left_and_the_last_no_further_right() -> None:
    html = shown([column(0), column(1), column(2)])
    barred = re.findall(r'disabled data-pin-ask="(\w+)" data-pin="(\d)"', html)
    assert barred == [("left", "0"), ("right", "1")]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b"])
def test_a_name_is_text_wherever_it_stands(name: str) -> None:
    curve = LossCurve("20261124-021704-aabbccdd", name, {1: 2.0, 2: 1.0}, {})
    html = comparison([column(0), replace(column(1), name=name)], CARD, {1: curve}, room=1)
    assert name not in html
    assert "<script" not in html
    assert "<img" not in html


def test_nothing_pinned_says_how_to_begin() -> None:
    html = nothing_pinned(8)
    assert "Nothing is pinned yet" in html
    assert "up to 8" in html
    assert 'data-pin-ask="pin"' in html


@pytest.mark.parametrize(
    ("values", "others", "name"),
    [
        ({"lora_r": 32}, [], "Llama 3 8B, r 32"),
        ({"lora_r": 32, "peft_use_dora": True}, [{}], "r 32, DoRA"),
        ({}, [{"lora_r": 32, "peft_use_dora": True}], "r 8"),
        ({"load_in_4bit": True, "adapter": "qlora"}, [{}], "4-bit"),
        ({"base_model": "Qwen/Qwen2.5-7B"}, [{}], "Qwen2.5 7B"),
        ({"base_model": "someone/their-model"}, [{}], "their-model"),
        ({"learning_rate": 2e-4}, [{}], "rate 2e-4"),
        ({"lora_target_modules": ("q_proj", "v_proj")}, [{}], "q_proj, v_proj"),
        ({"lora_target_modules": ("q_proj", "k_proj", "v_proj")}, [{}], "3 targets"),
        ({"gradient_checkpointing": False}, [{"gradient_checkpointing": True}], "no checkpointing"),
        ({"weight_decay": 0.1}, [{}], "Weight decay 0.1"),
        ({"weight_decay": 0.0}, [{"weight_decay": 0.1}], "Llama 3 8B, r 8"),
        ({}, [{}], "Llama 3 8B, r 8"),
        ({"adapter": None, "lora_r": None, "lora_alpha": None}, [{}], "full fine-tuning"),
    ],
)
def test_a_name_says_what_sets_a_configuration_apart(values: dict[str, Any], others: list[Any], name: str) -> None:
    assert propose_name(recipe(**values), [recipe(**other) for other in others]) == name


def test_no_name_is_proposed_twice() -> None:
    taken = ["r 32", "r 32 (2)"]
    assert propose_name(recipe(lora_r=32), [recipe()], taken) == "r 32 (3)"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "not set"),
        ((), "not set"),
        (True, "true"),
        (2048, "2,048"),
        (0.0002, "0.0002"),
        (("q_proj", "v_proj"), "q_proj, v_proj"),
        ((0, 1, 2, 7), "0–2, 7"),
        ({"down_proj": 64}, "down_proj: 64"),
    ],
)
def test_values_are_written_on_one_line(value: Any, said: str) -> None:
    assert value_in_words(value) == said


def widths(svg: str) -> list[float]:
    return [float(width) for width in re.findall(r'width="([\d.]+)%" y', svg)]


def test_bars_are_as_long_as_their_figures() -> None:
    bars = [Bar("a", "4", (Piece(4.0, "x"),)), Bar("b", "1 and 1", (Piece(1.0, "x"), Piece(1.0, "y")))]
    svg = bar_chart(bars, BarAxis(lambda amount: f"{amount:g}"))
    assert widths(svg) == [100.0, 25.0, 25.0]
    assert re.findall(r'<rect x="([\d.]+)%"', svg) == ["0.000", "0.000", "25.000"]


def test_a_line_beyond_all_bars_widens_the_axis() -> None:
    svg = bar_chart([Bar("a", "4", (Piece(4.0, "x"),))], BarAxis(lambda amount: f"{amount:g}", (8.0, "the limit")))
    assert widths(svg) == [50.0]
    assert 'x1="100.000%"' in svg
    assert "the limit" in svg


@pytest.mark.parametrize("bars", [[], [Bar("a", "…")]])
def test_an_axis_of_nothing_is_still_one(bars: list[Bar]) -> None:
    assert "<svg" in bar_chart(bars, BarAxis(str))


def heights(svg: str) -> list[float]:
    return [float(height) for height in re.findall(r'cy="([\d.]+)"', svg)]


def test_points_that_lie_upon_each_other_share_a_place_and_say_so() -> None:
    axes = ScatterAxes(str, str, ("up", "across"), (10.0, "the limit"))
    dots = [Dot(1.0, 5.0, "1", "one", "s"), Dot(1.0, 5.0, "2", "two", "s"), Dot(4.0, 9.0, "3", "three", "s")]
    svg = scatter_chart(dots, axes)
    assert len(heights(svg)) == 2
    assert heights(svg)[0] > heights(svg)[1]
    assert "+ 2" in svg
    assert "one, two" in svg


def test_the_card_s_limit_is_a_line_in_both_pictures_of_memory() -> None:
    columns = [column(0), column(1)]
    for chart in (memory_chart(columns, CARD), cost_chart(columns, CARD)):
        assert chart.count('class="limit-line"') == 1
        assert "RTX 4090" in chart
    assert "limit-line" not in memory_chart(columns, None)


def test_every_chart_has_a_question_and_the_same_figures_as_a_table() -> None:
    columns = [column(0), column(1)]
    charts = (params_chart(columns), adapter_chart(columns), memory_chart(columns, CARD), cost_chart(columns, CARD))
    for chart in charts:
        assert re.match(r'<figure class="chart" data-name="compare-[a-z-]+">', chart)
        assert re.search(r"<h3>[^<]+\?</h3>", chart)
        assert 'details class="chart-table"' in chart
        assert chart.count("<tr>") == 3
    assert "8,000,000" in charts[0].split("<table>")[1]
    assert "16 MiB" in charts[1].split("<table>")[1]
    assert "21.0 GiB" in charts[2].split("<table>")[1]


def test_memory_parts_that_nobody_has_are_left_out_of_the_legend() -> None:
    chart = memory_chart([column(0)], CARD)
    assert "Base weights" in chart
    assert "Workspaces" not in chart


def curve(title: str = "Llama on instructions, rank 8", steps: int = 3) -> LossCurve:
    return LossCurve("20261124-021704-aabbccdd", title, {step: 3.0 - step / 10 for step in range(1, steps + 1)}, {})


def test_without_a_kept_run_the_losses_say_how_to_make_one() -> None:
    html = losses_chart([column(0), column(1)], {})
    assert "No kept run has the settings" in html
    assert "press Start" in html
    assert "<svg" not in html


def test_losses_of_kept_runs_are_drawn_in_the_colour_of_their_configuration() -> None:
    html = losses_chart([column(0), column(1), column(2)], {1: curve()})
    assert "line series series-1" in html
    assert "2.900" in html
    assert "name 0" in html
    assert "name 2" in html


def test_runs_on_other_data_are_said_to_say_little_together() -> None:
    columns = [column(0), column(1)]
    alike = losses_chart(columns, {0: curve(), 1: curve("Llama on instructions, rank 16")})
    other = losses_chart(columns, {0: curve(), 1: curve("Llama on chats, rank 16")})
    assert "say little together" not in alike
    assert "say little together" in other


def test_a_terminal_shows_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    less = replace(WHOLE, process_bytes=20 * GIB)
    show_comparison([column(0), column(1, less, lora_r=16), Column("bad", None, Figures(problem="Why."), "2")], CARD)
    said = capsys.readouterr().out
    assert "lora_r" in said
    assert "20.0 GiB *" in said
    assert "bad: Why." in said


def test_a_terminal_says_when_nothing_differs(capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison([column(0), column(1)], None)
    assert "No setting differs." in capsys.readouterr().out
