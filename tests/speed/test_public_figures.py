"""Public figures, prices, and what the code says of them."""

from __future__ import annotations

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
        assert expectation.words.endswith("at the worst.")


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
