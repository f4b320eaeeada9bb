"""A sweep as lines, CSV, table, picture and records: the same figures everywhere, and every point can be taken."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from lora_explorer.base_models import base_model_from_config
from lora_explorer.exploration.axes import Axis, Choice
from lora_explorer.exploration.card_ends import where_cards_end
from lora_explorer.exploration.pace import Pace
from lora_explorer.exploration.prediction import Prediction
from lora_explorer.exploration.sweep import Sweep, SweepPoint
from lora_explorer.memory import CardFit, find_card
from lora_explorer.report.exploration_records import point_record, sweep_end_record
from lora_explorer.report.sweeps import (
    columns_of,
    ends_in_words,
    sweep_csv,
    sweep_head,
    sweep_line,
    sweep_table,
    sweep_title,
)
from lora_explorer.settings import Recipe
from lora_explorer.speed import Range

GIB = 1 << 30
MODEL = base_model_from_config('{"model_type": "llama"}', "llama")
CARD = find_card("RTX 4090")
LARGER = find_card("A100 80GB SXM")
RANKS = Axis("lora_r", "Rank", tuple(Choice(str(r), str(r), {"lora_r": r}, float(r)) for r in (4, 8, 64)))
TARGETS = Axis(
    "targets",
    "Targets",
    (
        Choice("attention", "attention only", {"lora_target_modules": ("q_proj",)}),
        Choice("mlp", "<MLP & co>", {"lora_target_modules": ("up_proj",)}),
    ),
)
LENGTHS = Axis(
    "sequence_len", "Length", tuple(Choice(str(n), str(n), {"sequence_len": n}, float(n)) for n in (64, 96)), "tokens"
)
REFUSED = Prediction(problem="lora_r <b>no</b>, too large.", setting="lora_r")


def fit(gpu: str, *, fits: bool) -> CardFit:
    return CardFit(gpu, 24 * GIB, fits, GIB if fits else -GIB, "fits" if fits else "does not fit")


def predicted(gib: float) -> Prediction:
    """On a card of 24 GiB, and on one that holds everything."""
    fits = (fit(CARD.name, fits=gib < 24), fit(LARGER.name, fits=True))
    pace = Pace(Range(gib * 100, gib * 200), gib * 150)
    return Prediction(int(gib * 1e6), int(gib * 2e6), 2.0, int(gib * GIB), fits, pace)


def sweep_of(*axes: Axis) -> Sweep:
    return Sweep(Recipe(), MODEL, axes, (CARD, LARGER))


def points_of(sweep: Sweep, answers: list[Prediction]) -> list[SweepPoint]:
    return [SweepPoint(at, sweep.changes_at(at), answer) for at, answer in zip(sweep.places, answers, strict=True)]


CURVE = sweep_of(RANKS)
CURVE_POINTS = points_of(CURVE, [predicted(20), predicted(23), predicted(30)])
MAP = sweep_of(RANKS, TARGETS)
MAP_POINTS = points_of(MAP, [predicted(gib) for gib in (20, 21, 23, 25)] + [REFUSED, predicted(31)])


def test_lines_stand_in_columns_and_say_what_is_wrong_with_a_refused_point() -> None:
    lines = [sweep_head(MAP), *(sweep_line(MAP, point) for point in MAP_POINTS)]
    ends = {
        line.index(end) + len(end) for line, end in zip(lines, ["Peak memory", "20.00 GiB", "21.00 GiB"], strict=False)
    }
    assert len(ends) == 1
    assert lines[1].split()[:3] == ["4", "attention", "only"]
    assert "20,000,000" in lines[1]
    assert "2,000 – 4,000" in lines[1]
    assert lines[5].endswith(REFUSED.problem)
    assert sweep_title(MAP) == "Rank × Targets: 6 points"


def test_csv_has_every_point_with_exact_figures_in_the_order_of_the_axes() -> None:
    rows = list(csv.DictReader(io.StringIO(sweep_csv(MAP, reversed(MAP_POINTS)))))
    assert [(row["lora_r"], row["targets"]) for row in rows[:3]] == [
        ("4", "attention"),
        ("4", "mlp"),
        ("8", "attention"),
    ]
    assert [row["process_bytes"] for row in rows] == [str(n * GIB) for n in (20, 21, 23, 25)] + ["", str(31 * GIB)]
    assert rows[0]["RTX 4090 headroom_bytes"] == str(GIB)
    assert [float(rows[0][f"tokens_per_second_{end}"]) for end in ("low", "high")] == [2000, 4000]
    assert rows[4]["tokens_per_second_low"] == ""
    assert rows[5]["RTX 4090 verdict"] == "does not fit"
    assert rows[4]["problem"] == REFUSED.problem


def test_the_table_has_a_button_a_point_but_for_refused_ones_and_escapes_what_it_shows() -> None:
    shown = sweep_table(MAP, MAP_POINTS)
    touches = [json.loads(unescape(found)) for found in re.findall(r'data-touches="([^"]*)"', shown)]
    assert touches[0] == {"lora_r": 4, "lora_target_modules": ["q_proj"]}
    assert len(touches) == 5
    assert "&lt;MLP &amp; co&gt;" in shown
    assert "<b>no</b>" not in shown
    assert "<caption>" in shown
    assert shown.count("<tr") == 7


@pytest.mark.parametrize(
    ("sweep", "answers", "sentences"),
    [
        (CURVE, [predicted(20), predicted(23), predicted(30)], ["RTX 4090: holds lora_r up to 8."]),
        (
            CURVE,
            [predicted(25), predicted(23), predicted(30)],
            ["RTX 4090: holds lora_r up to 8. In between there are"],
        ),
        (CURVE, [predicted(30)] * 3, ["RTX 4090: holds none of these."]),
        (
            sweep_of(LENGTHS, TARGETS),
            [predicted(20), predicted(30), predicted(20), predicted(30)],
            ["RTX 4090: holds sequence_len up to, by targets: attention only: 96, <MLP & co>: none."],
        ),
    ],
    ids=["curve", "gap", "none", "two axes"],
)
def test_where_cards_end_is_said_in_a_sentence(sweep: Sweep, answers: list[Prediction], sentences: list[str]) -> None:
    said = ends_in_words(sweep, where_cards_end(sweep, points_of(sweep, answers)))
    assert said[0].startswith(sentences[0])
    assert said[1:] == (f"{LARGER.name}: holds all of these.",)


def test_records_hold_what_makes_a_point_current_and_where_cards_end() -> None:
    records: list[Any] = [point_record(MAP, point) for point in MAP_POINTS]
    assert records[3]["at"] == {"lora_r": "8", "targets": "mlp"}
    assert records[3]["changes"] == {"lora_r": 8, "lora_target_modules": ("up_proj",)}
    assert records[3]["fits"][0]["fits"] is False
    assert records[4]["problem"] == REFUSED.problem
    assert records[4]["trainable_params"] is None
    assert (records[0]["tokens_per_second"], records[4]["tokens_per_second"]) == ([2000, 4000], None)
    end = sweep_end_record(MAP, MAP_POINTS, where_cards_end(MAP, MAP_POINTS))
    assert (end["points"], end["without_figures"]) == (6, 1)
    assert end["ends"][0]["lines"] == [
        {"targets": "attention", "largest": "8"}, {"targets": "mlp", "largest": "4"}
    ]  # fmt: skip
    assert json.dumps([*records, end])


def test_columns_are_named_by_keys_and_cards() -> None:
    assert columns_of(MAP)[:2] == ("lora_r", "targets")
    assert columns_of(MAP)[-4:-1] == ("Tokens/s, RTX 4090", "RTX 4090", "A100 80GB SXM")
    without = replace(MAP, cards=())
    assert columns_of(without)[-2:] == ("Peak memory", "")
    assert "2,000 – 4,000" not in sweep_line(without, MAP_POINTS[0])
