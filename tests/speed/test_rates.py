"""Kernels at the rates of a card: as long as the slower of computing and moving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lora_explorer.memory import cards, find_card
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.watching.work import FROM_HOST, TO_HOST, NumberType, Operation, Stage
from lora_explorer.speed.device_names import known_card
from lora_explorer.speed.rates import Rates, rates_of
from lora_explorer.speed.roofline import device_time
from lora_explorer.speed.step_work import StepWork

RATES = Rates({"bfloat16": 100.0, "float32": 10.0}, memory=1000.0, host_link=10.0)
STEP = Step(1, 1)


def kernel(name: str = "mm", number_type: NumberType = "bfloat16", stage: Stage = "forward") -> Operation:
    return Operation(name, number_type, stage, -1, 1)


def work(
    operations: Sequence[Operation], flops: Sequence[float], moved: Sequence[float], runs: float = 1.0
) -> StepWork:
    return StepWork(tuple(operations), np.full(len(operations), runs), np.array(flops, float), np.array(moved, float))


def test_a_kernel_takes_as_long_as_the_slower_of_its_products_and_its_bytes() -> None:
    timed = device_time(work([kernel(), kernel()], [500, 100], [1000, 4000]), STEP, RATES)
    assert timed.seconds.tolist() == [5.0, 4.0]
    assert timed.total_seconds == 9.0
    assert timed.limited_by == "products"


def test_products_run_at_the_rate_of_their_type() -> None:
    timed = device_time(work([kernel(), kernel(number_type="float32")], [100, 100], [1, 1]), STEP, RATES)
    assert timed.seconds.tolist() == [1.0, 10.0]


def test_what_only_moves_is_limited_by_memory_and_runs_as_often_as_it_is_launched() -> None:
    timed = device_time(work([kernel("add", None)], [0], [1000], runs=7), STEP, RATES)
    assert (timed.total_seconds, timed.kernels, timed.limited_by) == (7.0, 7, "memory")


@pytest.mark.parametrize(("offloading", "seconds"), [("synchronous", 1 + 2 + 3 + 4), ("streamed", 3 + 4)])
def test_copies_of_a_stream_of_their_own_are_hidden_behind_their_own_stage(offloading: str, seconds: float) -> None:
    operations = [
        kernel(),
        kernel(TO_HOST, None),
        kernel(stage="backward"),
        kernel(FROM_HOST, None, stage="recomputation"),
    ]
    found = work(operations, [300, 0, 100, 0], [0, 20, 0, 40])
    timed = device_time(found, Step(1, 1, offloading=offloading), RATES)  # type: ignore[arg-type]
    assert timed.total_seconds == pytest.approx(seconds)


def test_totals_are_whole_and_exact() -> None:
    found = work([kernel(), kernel()], [2**53 - 1, 1], [3, 4], runs=5)
    assert (found.total_flops, found.total_bytes) == (5 * 2**53, 35)


def test_every_card_of_the_table_can_be_timed() -> None:
    for card in cards():
        rates = rates_of(card, tf32=False)
        assert rates.products["float16"] >= rates.products["float32"] > rates.products["float64"]


def test_tensor_cores_before_ampere_take_no_bfloat16() -> None:
    old, new = (rates_of(find_card(name), tf32=True).products for name in ("T4", "RTX 3090"))
    assert old["bfloat16"] == old["float32"] < old["float16"]
    assert new["bfloat16"] == new["float16"] == pytest.approx(2 * new["float32"], rel=0.01)


NAMES = {
    ("NVIDIA A100-SXM4-80GB", 80): "A100 80GB SXM",
    ("NVIDIA A100 80GB PCIe", 80): "A100 80GB PCIe",
    ("NVIDIA A100-SXM4-40GB", 40): "A100 40GB SXM",
    ("NVIDIA A100-PCIE-40GB", 40): "A100 40GB PCIe",
    ("NVIDIA H100 80GB HBM3", 80): "H100 80GB SXM",
    ("NVIDIA H100 PCIe", 80): "H100 80GB PCIe",
    ("NVIDIA H200", 141): "H200 141GB",
    ("NVIDIA L40S", 45): "L40S",
    ("NVIDIA L4", 22): "L4",
    ("Tesla T4", 15): "T4",
    ("Tesla V100-SXM2-16GB", 16): "V100 16GB",
    ("NVIDIA GeForce RTX 4090", 24): "RTX 4090",
    ("NVIDIA GeForce RTX 4070 Ti SUPER", 16): "RTX 4070 Ti SUPER",
    ("NVIDIA GeForce RTX 3060", 12): "RTX 3060 12GB",
    ("NVIDIA RTX A6000", 48): "RTX A6000",
    ("NVIDIA RTX 6000 Ada Generation", 48): "RTX 6000 Ada",
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 95): "RTX PRO 6000 Blackwell",
    ("AMD Instinct MI300X", 192): "MI300X",
    # Other chips than any in the table.
    ("NVIDIA GeForce RTX 4070 Ti", 12): None,
    ("NVIDIA GeForce RTX 4090 Laptop GPU", 16): None,
    ("NVIDIA GeForce RTX 4090 D", 24): None,
    ("NVIDIA GeForce RTX 3060", 8): None,
    ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", 40): None,
}


@pytest.mark.parametrize(("name", "gib"), NAMES)
def test_a_device_is_the_card_that_it_calls_itself(name: str, gib: int) -> None:
    card = known_card(name, gib << 30)
    assert (card.name if card else None) == NAMES[name, gib]
