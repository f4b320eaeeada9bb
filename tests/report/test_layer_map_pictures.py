"""The map as a control, one matrix, and what an edit wrote: exact, complete, and safe."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import pytest

from lora_explorer.exploration.layer_map import AdaptedMatrix, MapRow, Wording
from lora_explorer.exploration.layer_map.rows import Cell
from lora_explorer.report.heat_map import NOTHING_INSIDE, heat_map
from lora_explorer.report.map_edit import NOTHING_TO_DO, edit_in_words, press
from lora_explorer.report.matrix_drawing import NOTHING_ADAPTED, drawn_in_words, matrix_drawings
from report.plans import PARAMS_OF_KIND, rows_of_kinds

MATRIX = AdaptedMatrix("up_proj", 14336, 4096, 1, 32, 16, 0.5, 0, False, tuple(range(32)), 32)
HALF = MapRow("down_proj", (0, 1, 2), {0: Cell(64, 4, 8), 1: Cell(64, 4, 8)})
UNTRAINED = MapRow("gate_proj", (1, 2), {})
IN_FULL = MapRow("norm", (0, 1, 2), {layer: Cell(8, None, None) for layer in range(3)}, is_editable=False)


def said_of(picture: str, row: str) -> list[list[object]]:
    (found,) = re.findall(rf'data-row="{row}" data-said="([^"]*)"', picture)
    return list(json.loads(unescape(found)))


def test_every_layer_of_every_row_is_told_once() -> None:
    picture = heat_map((HALF, UNTRAINED, IN_FULL), 3)
    for row in ("down_proj", "gate_proj", "norm"):
        told = [layer for first, last, _ in said_of(picture, row) for layer in range(int(first), int(last) + 1)]
        assert told == [0, 1, 2]


def test_a_cell_tells_rank_alpha_and_parameters_or_why_there_are_none() -> None:
    picture = heat_map((HALF, UNTRAINED, IN_FULL), 3)
    assert said_of(picture, "down_proj") == [[0, 1, "rank 4, alpha 8, 64 parameters"], [2, 2, "not trained"]]
    assert said_of(picture, "gate_proj") == [[0, 0, "no such module"], [1, 2, "not trained"]]
    assert said_of(picture, "norm") == [[0, 2, "8 parameters, trained in full"]]


def test_a_name_is_a_switch_that_knows_how_it_stands_unless_nothing_can_be_said_of_it() -> None:
    picture = heat_map((*rows_of_kinds(3), HALF, UNTRAINED, IN_FULL), 3)
    pressed = re.findall(r'<button[^>]*aria-pressed="(\w+)"', picture)
    assert pressed == ["true"] * len(PARAMS_OF_KIND) + ["mixed", "false"]
    assert picture.count("untrained") == 1


def test_a_cell_is_hollow_only_where_the_model_has_a_module() -> None:
    (hollow,) = re.findall(r'<path d="([^"]*)" class="heat-empty">', heat_map((UNTRAINED,), 3))
    assert hollow.count("M") == 2


def test_the_table_behind_the_map_adds_up_to_the_rows() -> None:
    rows = (HALF, UNTRAINED, IN_FULL)
    table = heat_map(rows, 3).partition("<tbody>")[2]
    lines = [re.findall(r'class="number">([^<]*)<', line) for line in table.split("</tr>")]
    totals = [int(line[-1].replace(",", "")) for line in lines if line]
    assert sum(totals) == sum(row.trainable_params for row in rows)
    assert ["2", "–", "–", "0", "0"] in lines


def test_a_model_without_modules_in_layers_says_so() -> None:
    assert NOTHING_INSIDE in heat_map((), 3)


def test_the_drawing_is_to_scale() -> None:
    rectangles = re.findall(
        r'<rect [^>]*width="([\d.]+)" height="([\d.]+)"', matrix_drawings([replace(MATRIX, r=1024)])
    )
    (w, b, a) = [tuple(map(float, sides)) for sides in rectangles]
    assert w[0] / w[1] == pytest.approx(4096 / 14336, rel=0.01)
    assert b == (pytest.approx(w[1] * 1024 / 14336, abs=0.1), w[1])
    assert a == (w[0], pytest.approx(w[1] * 1024 / 14336, abs=0.1))
    assert "too thin" not in matrix_drawings([replace(MATRIX, r=1024)])
    assert "too thin" in matrix_drawings([MATRIX])


def test_the_table_of_a_drawing_adds_up_to_what_is_trained() -> None:
    for matrix in (MATRIX, replace(MATRIX, magnitude_params=14336), replace(MATRIX, frozen=frozenset("B"))):
        lines = re.findall(
            r'<th scope="row">\w, (\w+)</th>.*?class="number">([\d,]+)</td></tr>', matrix_drawings([matrix])
        )
        trained = [int(params.replace(",", "")) for state, params in lines if state == "trained"]
        assert sum(trained) == matrix.trainable_params
        assert f"{matrix.trainable_params:,} to train" in matrix_drawings([matrix])


def test_a_drawing_is_told_in_words_with_its_shapes_and_scale() -> None:
    told = drawn_in_words(MATRIX)
    assert told == (
        "W (14,336 by 4,096, 58.7 M frozen parameters) plus 0.5 times B (14,336 by 32, 459 k trained parameters) "
        "times A (32 by 4,096, 131 k trained parameters)."
    )
    assert f'role="img" aria-label="{told}"' in matrix_drawings([MATRIX])
    assert "magnitude" in drawn_in_words(replace(MATRIX, magnitude_params=14336))


def test_one_drawing_is_in_sight_and_each_says_where_it_holds() -> None:
    other = replace(MATRIX, r=64, layers=(3,))
    drawn = matrix_drawings([replace(MATRIX, layers=(0, 1, 2)), other])
    assert re.findall(r"<figure[^>]* hidden>", drawn) == re.findall(r'<figure[^>]*data-layers="\[3\]" hidden>', drawn)
    assert "layer 3; 31 other layers have another shape" in drawn
    assert NOTHING_ADAPTED in matrix_drawings([])


def test_a_drawing_of_experts_is_that_of_one_and_counts_all() -> None:
    experts = replace(MATRIX, experts=128)
    drawn = matrix_drawings([experts])
    assert "Drawn is one of 128 experts" in drawn
    assert f"{experts.trainable_params:,} to train" in drawn
    assert drawn_in_words(experts) == drawn_in_words(MATRIX)


def test_an_edit_tells_what_was_written_as_it_is_typed() -> None:
    said = edit_in_words(
        Wording(
            {"peft_layers_to_transform": (0, 1, 2, 8), "lora_target_modules": ("q_proj",), "lora_target_linear": False}
        )
    )
    assert re.findall(r"<code>([^<]*)</code>", said) == [
        "peft_layers_to_transform: 0–2, 8",
        "lora_target_modules: [q_proj]",
        "lora_target_linear: false",
    ]
    emptied = edit_in_words(Wording({"lora_r": 64, "lora_rank_pattern": None}))
    assert re.sub(r"<[^>]*>", "", emptied) == "Written: lora_r: 64; emptied: lora_rank_pattern."
    assert re.sub(r"<[^>]*>", "", edit_in_words(Wording({"lora_rank_pattern": None}))) == "Emptied: lora_rank_pattern."


def test_an_edit_that_says_nothing_says_why() -> None:
    assert NOTHING_TO_DO in edit_in_words(Wording({}))
    refused = edit_in_words(Wording({}, "<b>no</b>"))
    assert "&lt;b&gt;no" in refused
    assert 'data-kind="warning"' in refused


def test_what_the_page_presses_holds_exactly_what_changes() -> None:
    held = {"lora_rank_pattern": '{"layers.*": 8}', "lora_target_linear": False}
    (pressed,) = re.findall(r'data-touches="([^"]*)"', press(held))
    assert json.loads(unescape(pressed)) == held
