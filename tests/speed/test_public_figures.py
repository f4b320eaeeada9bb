"""Public figures, prices, and what the code says of them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from lora_explorer import presets
from lora_explorer.errors import ExplorerError
from lora_explorer.memory import cards, find_card
from lora_explorer.speed import price_of
from lora_explorer.speed.expectation import expectation_of, nearest_figures
from lora_explorer.speed.measured_error import EFFICIENCIES, HOST_SECONDS_PER_KERNEL, OF_KNOWN_CARDS, OF_OTHER_CARDS
from lora_explorer.speed.prices import typed_price

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    import throughput

    yield throughput
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def public(benchmark: ModuleType) -> list[Any]:
    return list(benchmark.figures())


@pytest.fixture(scope="module")
def calibration(benchmark: ModuleType, public: list[Any]) -> Any:
    return benchmark.calibrate(public)


def test_the_code_says_what_the_benchmark_prints(calibration: Any) -> None:
    assert calibration.efficiencies == dict(EFFICIENCIES)
    assert calibration.host_seconds == pytest.approx(HOST_SECONDS_PER_KERNEL, rel=0.005)
    assert calibration.known_cards == OF_KNOWN_CARDS
    assert calibration.other_cards == OF_OTHER_CARDS


def test_the_ranges_hold_every_public_figure(calibration: Any) -> None:
    ranges = {"model": OF_KNOWN_CARDS, "card": OF_OTHER_CARDS}
    for each in calibration.estimated:
        error = ranges[each.without]
        assert error.shortest - 0.005 <= each.ratio <= error.longest + 0.005


def test_a_figure_is_never_part_of_its_own_estimate(benchmark: ModuleType, public: list[Any]) -> None:
    """Its time may be another: the estimate that leaves it out stays where it is."""
    for without, is_left_out in (
        ("card", lambda figure: figure.gpu == "L40"),
        ("model", lambda figure: figure.model == "PowerLM-3B"),
        ("model", lambda figure: figure.model == "Qwen-1.8B"),
    ):
        slower = [replace(f, measured_seconds=f.measured_seconds * (1.2 if is_left_out(f) else 1)) for f in public]
        before, after = (
            {each.id: each.estimated_seconds for each in benchmark.calibrate(each).estimated if each.without == without}
            for each in (public, slower)
        )
        for figure in filter(is_left_out, public):
            assert before[figure.id] == after[figure.id]


def test_a_card_whose_time_is_like_no_other_lies_outside_the_range_that_is_made_without_it(
    benchmark: ModuleType, public: list[Any]
) -> None:
    slower = [replace(f, measured_seconds=f.measured_seconds * (10 if f.gpu.startswith("H100") else 1)) for f in public]
    found = benchmark.calibrate(slower).other_cards
    of_card = sum(figure.gpu.startswith("H100") for figure in public)
    assert found.longest > 10
    assert 0 < found.held <= found.figures - of_card


def measured_run(**changes: Any) -> dict[str, Any]:
    """A run as benchmarks/accuracy.py reads it: that of a public figure."""
    file = yaml.safe_load((presets.folder() / "throughput.yml").read_text(encoding="utf-8"))
    run = {
        "id": "a run",
        "gpu": "NVIDIA A100-80GB",
        "versions": {"transformers": "4.48.1"},
        "model_id": "mistralai/Mistral-7B-v0.1",
        "model_config": {**file["models"]["Mistral-7B"], "rms_norm_eps": 1e-5},
        "adapter": None,
        "dtype": "bfloat16",
        "loop": "trl",
        "autocast": False,
        "micro_batch_size": 4,
        "sequence_len": 4096,
        "gradient_checkpointing": True,
        "attn_implementation": "flash_attention_2",
        "optimizer": "adamw_torch",
        "measured": {"throughput": {"tokens_per_s": 3062.7}},
    }
    return run | changes


def test_a_measured_run_is_estimated_without_the_public_figures_of_its_model(
    benchmark: ModuleType, public: list[Any], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    silent = measured_run(id="silent", measured={"peak_allocated_bytes": 1})
    shared = measured_run(id="two GPUs", measured={"throughput": {"tokens_per_s_per_gpu": 2777.2}})
    rows.write_text("\n".join(json.dumps(row) for row in (measured_run(), silent, shared)), encoding="utf-8")
    (figure,), left_out = benchmark.measured_figures([rows])
    assert left_out == ["silent", "two GPUs"]
    (same,) = [f for f in public if f.measured_seconds == pytest.approx(figure.measured_seconds, rel=1e-9)]
    assert figure == replace(same, id="a run", measured_seconds=figure.measured_seconds)
    slower = [replace(f, measured_seconds=f.measured_seconds * (2 if f.model == same.model else 1)) for f in public]
    first, second = ([*benchmark.estimates([figure], known, "model")] for known in (public, slower))
    assert first == second


def test_a_measured_run_that_says_what_nobody_knows_is_an_error(benchmark: ModuleType, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(measured_run(weather="fine")), encoding="utf-8")
    with pytest.raises(benchmark.UnknownRow, match="unknown columns weather"):
        benchmark.measured_figures([rows])


def test_every_figure_names_its_source_and_a_card_of_the_table() -> None:
    file = yaml.safe_load((presets.folder() / "throughput.yml").read_text(encoding="utf-8"))
    names = {card.name for card in cards()}
    for group in file["groups"]:
        assert group["source"]
        assert group["software"]
        for run in group["runs"]:
            assert run["gpu"] in names
            assert run["model"] in file["models"]
            assert run["adapter"] is None or run["adapter"] in file["adapters"]
            assert ("tokens_per_second" in run) is not ("seconds_per_step" in run)


def test_a_card_is_known_by_the_cards_most_like_it() -> None:
    desktop, hopper = (nearest_figures(find_card(name), EFFICIENCIES) for name in ("RTX 5090", "H200"))
    assert set(desktop) == {"RTX 4090", "L40"}
    assert set(hopper) == {"H100 80GB SXM"}
    assert set(nearest_figures(find_card("MI300X"), EFFICIENCIES)) == set(EFFICIENCIES) - set(desktop)


def test_every_card_has_an_expectation_with_words() -> None:
    for card in cards():
        expectation = expectation_of(card)
        assert 0.3 < expectation.efficiency < 1.2
        assert expectation.time.low < 1 < expectation.time.high
        assert re.search(r"\d+ % at the worst; ranges made without them held \d+\.$", expectation.words)


def test_a_price_on_file_has_a_source_and_a_month() -> None:
    priced = [price for card in cards() if (price := price_of(card.name)) is not None]
    assert len(priced) >= 10
    for price in priced:
        assert 0.05 < price.usd_per_hour < 20
        assert price.source
        year, month = price.date.split("-")
        assert (2024 <= int(year) <= 2030, 1 <= int(month) <= 12) == (True, True)
    listed = yaml.safe_load((presets.folder() / "gpu_prices.yml").read_text(encoding="utf-8"))
    assert {gpu for offer in listed for gpu in offer["usd_per_hour"]} <= {card.name for card in cards()}
    assert price_of("T4") is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1e6, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused_in_one_sentence(wrong: float) -> None:
    with pytest.raises(ExplorerError, match=r"^A price per GPU-hour is more than 0 .*\.$"):
        typed_price(wrong)
