"""Predictions against published measurements; python benchmarks/accuracy.py holds them against rows of a file.

T4: FitCheck 0.3.1's measurement archive. A100: foundation-model-stack/fms-acceleration, a100_80gb.csv. L40S: PEFT's
method_comparison/MetaMathQA.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_explorer.memory.measured_error import ALLOCATED, PROCESS, MeasuredError

from .published import FILES, accuracy, accuracy_table, compared, measured_rows, rows_of


def figures(file: str, *quantities: str) -> dict[str, float]:
    chosen = [each for each in compared(file) if each.quantity in quantities]
    summaries = accuracy_table.summarize(chosen)
    assert set(summaries) == set(quantities)
    return {
        "mean": max(summary["mean_abs_percent"] for summary in summaries.values()),
        "worst": max(summary["worst_abs_percent"] for summary in summaries.values()),
        "under": max(summary["worst_under_percent"] for summary in summaries.values()),
    }


def test_t4_peak_allocated_is_met_to_two_thousandths_on_average() -> None:
    met = figures("t4_phases", "peak_allocated")
    assert met["mean"] <= 0.2
    assert met["worst"] <= 0.8


def test_t4_every_phase_is_met() -> None:
    met = figures("t4_phases", "peak_forward", "peak_backward", "peak_optimizer")
    assert met["mean"] <= 0.4
    assert met["worst"] <= 1.5


def test_t4_what_is_allocated_after_loading_is_met() -> None:
    met = figures("t4_phases", "allocated_after_load")
    assert met["mean"] <= 0.4
    assert met["worst"] <= 1.5


def test_t4_what_the_process_takes_is_met() -> None:
    met = figures("t4_phases", "peak_reserved", "process")
    assert met["mean"] <= 1.2
    assert met["worst"] <= 4
    assert met["under"] <= 3


def test_t4_lora_on_an_unquantized_base_is_met_to_the_byte() -> None:
    plain = {row["id"] for row in rows_of("t4_phases") if row["base_quantization"] is None}
    tensors = ("allocated_after_load", "peak_forward", "peak_backward", "peak_optimizer", "peak_allocated")
    off = [abs(c.predicted - c.measured) for c in compared("t4_phases") if c.id in plain and c.quantity in tensors]
    assert len(off) == 100
    # The rest is a remainder that a block of the pool was not split for.
    assert off.count(0) >= 95
    assert max(off) <= 2 << 20


def test_peer_is_further_off_on_the_rows_that_it_was_fitted_to() -> None:
    # FitCheck 0.3.1 on these rows: tensors 0.8 % on average and 4.6 % at worst, process 2.6 % and 13.9 %.
    assert figures("t4_phases", "peak_allocated")["worst"] < 4.6
    assert figures("t4_phases", "process")["worst"] < 13.9


def test_a100_peak_allocated_is_met_to_a_thousandth() -> None:
    assert figures("a100_packed", "peak_allocated")["worst"] <= 0.1


def test_two_gpus_under_full_sharding_are_met_to_a_thousandth() -> None:
    met = figures("a100_two_gpus", "peak_allocated")
    assert met["worst"] <= 0.1


def test_l40s_variants_are_met_relative_to_rank_32() -> None:
    met = figures("l40s_peft_variants", "peak_reserved_relative")
    assert met["worst"] <= 3


@pytest.mark.parametrize("file", [file for file in FILES if file not in ("a100_packed", "a100_two_gpus")])
def test_counts_are_exact(file: str) -> None:
    assert figures(file, "trainable_params", "all_params")["worst"] == 0


@pytest.mark.parametrize(("quantity", "told"), [("peak_allocated", ALLOCATED), ("process", PROCESS)])
def test_the_error_that_is_told_is_that_of_the_published_runs(quantity: str, told: MeasuredError) -> None:
    chosen = [each for file in FILES for each in compared(file) if each.quantity == quantity]
    summary = accuracy_table.summarize(chosen)[quantity]
    assert told.runs == summary["rows"]
    assert told.mean_percent == round(summary["mean_abs_percent"], 2)
    assert told.worst_percent == round(summary["worst_abs_percent"], 2)
    assert told.worst_under_percent == round(summary["worst_under_percent"], 2)
    measured = {each.id for each in chosen}
    rows = [row for file in FILES for row in rows_of(file) if row["id"] in measured]
    assert {measured_rows.card_of(row).name for row in rows} == set(told.gpus)


def test_what_is_not_comparable_stays_out_of_the_summary() -> None:
    summary = accuracy_table.summarize(compared("l40s_peft_variants"))
    assert "peak_reserved" not in summary
    assert any(not each.comparable for each in compared("l40s_peft_variants"))


@pytest.mark.parametrize("length", [448, 576, 704])
def test_relative_reserved_bytes_do_not_hang_on_the_length_that_is_not_recorded(length: int) -> None:
    shorter = [{**row, "sequence_len": length} for row in rows_of("l40s_peft_variants")]
    ratios = [each for each in accuracy.compare_all(shorter) if each.quantity.endswith("relative")]
    assert len(ratios) == 2
    assert max(abs(each.error_percent) for each in ratios) <= 3


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "blue"},
        {"measured": {"colour": 1}},
        {"gpu": "Abacus"},
        {"loop": "by hand"},
        {"base_quantization": "nf1"},
        {"adapter": {"lora_r": 8, "lora_colour": 1}},
        {"n_gpus": 2, "parallelism": "pipeline"},
    ],
)
def test_a_row_that_is_not_known_is_refused(change: dict[str, Any]) -> None:
    row = {**rows_of("t4_phases")[0], **change}
    with pytest.raises(measured_rows.UnknownRow, match=row["id"][:20]):
        list(accuracy.compare(row))


@pytest.mark.parametrize(
    ("published", "name"),
    [
        ("Tesla T4", "T4"),
        ("NVIDIA A100-80GB", "A100 80GB SXM"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB SXM"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
    ],
)
def test_a_published_card_is_found(published: str, name: str) -> None:
    assert measured_rows.card_of({"id": "row", "gpu": published}).name == name


def test_the_script_prints_one_json_object(tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    smallest = min(rows_of("t4_phases"), key=lambda row: row["measured"]["peak_allocated_bytes"])
    file.write_text(json.dumps(smallest) + "\n", encoding="utf-8")
    command = [sys.executable, accuracy.__file__, str(file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert {"id", "quantity", "predicted", "measured", "error_percent", "peer_error_percent"} <= set(report["rows"][0])
    wanted = {"rows", "mean_abs_percent", "worst_abs_percent", "worst_under_percent"}
    assert all(set(figures) == wanted for figures in report["summary"].values())
    assert set(report["summary"]) == {each["quantity"] for each in report["rows"]}
