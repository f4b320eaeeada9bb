"""Pictures and tables show what the plan says, and nothing a stranger wrote becomes markup."""

from __future__ import annotations

import re

import pytest

from lora_explorer.memory import find_card
from lora_explorer.report import coverage, headline, heat_map, kind_bars, memory_bar
from lora_explorer.report.html import Html, tag
from report.estimates import GIB, estimate
from report.plans import PARAMS_OF_KIND, plan_of, rows_of_kinds

EVIL = '<img src=x onerror="alert(1)">'


def test_text_becomes_markup_only_where_it_was_markup_before() -> None:
    assert tag("p", EVIL) == "<p>&lt;img src=x onerror=&quot;alert(1)&quot;&gt;</p>"
    assert tag("p", Html("<b>a</b>"), title='"') == '<p title="&quot;"><b>a</b></p>'


def test_a_name_that_is_markup_is_shown_as_text() -> None:
    assert "<img" not in coverage.coverage_table(plan_of(2, {EVIL: 8}, missed=(EVIL,)))
    assert "<img" not in heat_map.heat_map(rows_of_kinds(2, {EVIL: 8}), 2)


def test_the_heat_map_draws_one_cell_for_each_kind_and_layer() -> None:
    picture = heat_map.heat_map(rows_of_kinds(126), 126)
    cells = sum(path.count("M") for path in re.findall(r' d="([^"]*)"', picture))
    assert cells == 126 * len(PARAMS_OF_KIND)


def test_equal_layers_share_one_element_so_that_the_heat_map_stays_small() -> None:
    assert heat_map.heat_map(rows_of_kinds(126), 126).count("<path") == len(PARAMS_OF_KIND)


def test_the_coverage_table_has_a_row_for_each_entry_and_names_what_a_missed_one_may_mean() -> None:
    table = coverage.coverage_table(plan_of(4, missed=("q_porj",)))
    assert table.count("<tr") == 1 + len(PARAMS_OF_KIND) + 1
    assert "4 of 4" in table
    assert "q_porj" in table
    assert table.count('class="missed"') == 1


def test_the_bars_add_up_to_the_trainable_parameters() -> None:
    plan = plan_of(4)
    exact = re.findall(r'title="([\d,]+) parameters"', kind_bars.kind_bars(plan))
    assert sum(int(count.replace(",", "")) for count in exact) == plan.trainable_params


def test_the_tiles_hold_the_exact_integers() -> None:
    plan = plan_of(4)
    tiles = headline.count_tiles(plan)
    assert f'id="trainable-params" data-value="{plan.trainable_params}"' in tiles
    assert f'id="all-params" data-value="{plan.all_params}"' in tiles


def test_pieces_of_the_memory_bar_add_up_to_the_process_and_never_run_over_the_bar() -> None:
    card = find_card("RTX 4090")
    for reserved in (19 * GIB, 40 * GIB):
        made = estimate(reserved_bytes=reserved)
        bar = memory_bar.memory_bar(made, card)
        widths = [float(width) for width in re.findall(r'class="piece [^"]*" style="width:([\d.]+)%', bar)]
        share = 100 * made.process_bytes / max(made.process_bytes, made.fits[0].capacity_bytes)
        assert sum(widths) == pytest.approx(share, abs=0.01)


def test_the_memory_bar_lists_the_same_parts_whatever_they_hold() -> None:
    small, large = estimate(), estimate(reserved_bytes=40 * GIB)
    card = find_card("RTX 4090")
    names = [
        re.findall(r"<li[^>]*><i[^>]*></i><span>([^<]*)", memory_bar.memory_bar(made, card)) for made in (small, large)
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("reserved_bytes", "fits", "verdict"),
    [(20 * GIB, 1, "fits"), (24 * GIB, 1, "tight"), (40 * GIB, 0, "does not fit")],
)
def test_the_tile_says_the_verdict_in_words(reserved_bytes: int, fits: int, verdict: str) -> None:
    tiles = headline.memory_tiles(estimate(reserved_bytes=reserved_bytes), find_card("RTX 4090"))
    assert f'data-value="{fits}"' in tiles
    assert f">{verdict}<" in tiles


def test_a_chip_tells_its_verdict_without_colour() -> None:
    marks = []
    for reserved_bytes in (20 * GIB, 24 * GIB, 40 * GIB):
        chips = memory_bar.card_chips(estimate(reserved_bytes=reserved_bytes))
        marks.append(re.findall(r'class="mark">(.)<', chips))
    assert len({mark for (mark,) in marks}) == 3
