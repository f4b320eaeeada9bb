"""`lora-explorer sweep` and `lora-explorer advise`: what a script reads, what a person reads, and whose fault it is."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lora_explorer import exploration_questions
from lora_explorer.cli import app

FINE = """\
base_model: openai-community/gpt2
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_modules: [c_attn]
learning_rate: 0.0002
sequence_len: 128
attn_implementation: sdpa
datasets: [{path: tatsu-lab/alpaca, type: alpaca}]
"""
RANKS = "lora_r=4..16x2"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "run.yml"
    file.write_text(FINE, encoding="utf-8")
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines_of(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_sweep_prints_one_object_a_point_and_then_where_cards_end(config: Path) -> None:
    *points, end = lines_of(run("sweep", config, "--over", RANKS, "--gpu", "RTX 4090", "--json"))
    assert {point["at"]["lora_r"]: point["trainable_params"] for point in points} == {
        str(rank): 12 * rank * (768 + 2304) for rank in (4, 8, 16)
    }
    assert end["ends"] == [{"gpu": "RTX 4090", "axis": "lora_r", "lines": [{"largest": "16"}], "gaps": False}]
    estimate = json.loads(run("estimate", config, "--gpu", "RTX 4090", "--json").stdout)
    (now,) = (point for point in points if point["at"]["lora_r"] == "8")
    assert now["process_bytes"] == estimate["process_bytes"]
    (time,) = json.loads(run("time", config, "--gpu", "RTX 4090", "--json").stdout)["cards"]
    assert now["tokens_per_second"] == time["tokens_per_second"]


def test_people_see_lines_and_a_sentence_about_each_card(config: Path) -> None:
    shown = run("sweep", config, "--over", RANKS, "--over", "targets=attention,mlp", "--gpu", "L4").stdout
    assert shown.startswith("Rank × Targets: 6 points\n")
    assert "MLP only" in shown
    assert "Tokens/s, L4" in shown
    assert "L4: holds all of these." in shown


def test_where_a_card_ends_is_said_for_each_value_of_the_other_setting(config: Path) -> None:
    batches = "micro_batch_size=16..1024x8"
    shown = run("sweep", config, "--over", batches, "--over", "targets=attention,mlp", "--gpu", "L4").stdout
    assert "L4: holds micro_batch_size up to, by targets: attention only: 128, MLP only: 128." in shown


def test_csv_is_nothing_but_csv(config: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("sweep", config, "--over", "micro_batch_size=1..3", "--csv").stdout)))
    assert [row["micro_batch_size"] for row in rows] == ["1", "2", "3"]
    assert all(int(row["process_bytes"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--over", "lora_rr=1"], "The nearest is lora_r"),
        (["--over", "lora_r=9..1"], "lora_r:"),
        (["--over", RANKS, "--over", "lora_r=3"], "Both axes set lora_r"),
        (["--over", RANKS, "--gpu", "GTX 0"], "GTX 0"),
        (["--over", RANKS, "--csv", "--json"], "exclude each other"),
        ([], "--over"),
    ],
    ids=str,
)
def test_a_wrong_call_is_told_in_a_sentence_and_prints_nothing(config: Path, options: list[str], words: str) -> None:
    result = run("sweep", config, *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", [["sweep", "--over", RANKS], ["advise", "--gpu", "L4"]], ids=str)
def test_a_configuration_at_fault_ends_with_status_1(config: Path, command: list[str]) -> None:
    config.write_text(FINE.replace("lora_r: 8", "lora_r: 0"), encoding="utf-8")
    result = run(command[0], config, *command[1:])
    assert result.exit_code == 1
    assert "lora_r" in result.stderr


def test_a_long_sweep_takes_a_second_process_and_every_point_comes_once(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exploration_questions, "WORTH_A_PROCESS_SECONDS", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    *points, _ = lines_of(run("sweep", config, "--over", RANKS, "--over", "optimizer=sgd,adamw_torch", "--json"))
    assert len({json.dumps(point["at"]) for point in points}) == len(points) == 6
    assert all(point["process_bytes"] for point in points)


def test_advice_is_what_fits_what_to_change_and_which_cards_to_take(config: Path) -> None:
    config.write_text(FINE.replace("sequence_len: 128", "sequence_len: 1024\nmicro_batch_size: 64"), encoding="utf-8")
    (record,) = lines_of(run("advise", config, "--gpu", "RTX 3060 12GB", "--json"))
    assert record["now"]["fits"] is False
    assert [each["setting"] for each in record["largest"]] == ["micro_batch_size", "sequence_len", "lora_r"]
    assert 0 < record["largest"][0]["value"] < 64
    enough = [each["makes_fit"] for each in record["changes"]]
    assert enough == sorted(enough, reverse=True)
    assert (record["combination"] is None) == any(enough)
    assert all(change["speed_factor"] > 0 for change in record["changes"])
    costs = [each["usd_per_million_tokens"] for each in record["cards"] if each["usd_per_million_tokens"]]
    assert costs == sorted(costs)
    assert len(costs) > 2
    assert all(step["source"] for change in record["changes"] for step in change["steps"])
    sizes = [each["capacity_bytes"] for each in record["cards"]]
    assert min(sizes) > record["capacity_bytes"]


def test_people_get_advice_in_tables(config: Path) -> None:
    shown = " ".join(run("advise", config, "--gpu", "L4").stdout.split())
    for words in (
        "L4: fits",
        "The largest that fits",
        "What would save memory",
        "the cheapest first",
        "a million tokens",
        "at prices of",
    ):
        assert words in shown
