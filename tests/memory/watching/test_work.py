"""What a single operator computes and moves, by its definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from lora_explorer.memory.kernels.attention import EfficientAttention, FlashAttention
from lora_explorer.memory.watching.operator_work import moved_size
from lora_explorer.memory.watching.watch import StorageWatch
from lora_explorer.memory.watching.work import Attends, Work

FOUR = 4


def work_of(action: Callable[[], object]) -> Work:
    watch = StorageWatch("meta")
    with watch:
        action()
    return watch.work()


def moved(action: Callable[[], object]) -> list[int]:
    """Bytes of each kernel."""
    return work_of(action).bytes_of_operations.tolist()


def values(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def test_a_product_reads_both_factors_and_writes_their_product() -> None:
    work = work_of(lambda: values(3, 5) @ values(5, 7))
    assert work.flops.tolist() == [2 * 3 * 5 * 7]
    assert work.moved_bytes.tolist() == [FOUR * 15, FOUR * 35, FOUR * 21]
    assert [operation.number_type for operation in work.operations] == ["float32"]


def test_a_sum_in_place_is_read_and_written() -> None:
    assert moved(lambda: values(10).add_(values(10))) == [3 * 40]


def test_what_is_overwritten_is_not_read() -> None:
    assert moved(lambda: values(10).copy_(values(10, dtype=torch.float16))) == [20 + 40]
    assert moved(lambda: values(10).zero_()) == [40]
    assert moved(lambda: torch.zeros_like(values(10))) == [40]


@pytest.mark.parametrize(
    "action",
    [
        lambda: values(4, 6).t(),
        lambda: values(4, 6).view(24),
        lambda: values(4, 6)[1:, ::2],
        lambda: values(4, 6).detach(),
        lambda: values(1, 6).expand(4, 6),
        lambda: torch.empty_like(values(4, 6)),
        lambda: values(4, 6).split(2),
    ],
)
def test_names_and_reserved_memory_cost_nothing(action: Callable[[], object]) -> None:
    assert moved(action) == []


def test_what_is_expanded_is_read_once() -> None:
    assert moved_size(values(1, 6).expand(4, 6)) == 24
    assert moved(lambda: values(1, 6).expand(4, 6) + values(4, 6)) == [24 + 96 + 96]


def test_a_slice_is_read_no_further_than_it_goes() -> None:
    assert moved(lambda: values(4, 6)[:2] * 2) == [48 + 48]


def test_of_a_table_only_the_rows_asked_for_are_read() -> None:
    table, tokens = values(1000, 8), torch.empty(5, dtype=torch.int64, device="meta")
    assert moved(lambda: F.embedding(tokens, table)) == [5 * 8 + 2 * 5 * 8 * FOUR]
    assert moved(lambda: table[tokens]) == [5 * 8 + 2 * 5 * 8 * FOUR]


def test_tensors_elsewhere_are_not_moved_on_the_device() -> None:
    assert moved(lambda: torch.ones(3) + 1) == []


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [None, 1, 3, 8, 20])
@pytest.mark.parametrize("tokens", [1, 7, 12])
def test_pairs_are_those_of_the_mask(tokens: int, window: int | None, causal: bool) -> None:
    distance = np.subtract.outer(np.arange(tokens), np.arange(tokens))
    near = np.abs(distance) < (window or tokens)
    assert Attends(causal, window).pairs(tokens) == (near & (distance >= 0) if causal else near).sum()


def test_documents_that_are_kept_apart_look_at_themselves_only() -> None:
    apart, together = Attends(causal=True, keeps_apart=True), Attends(causal=True)
    assert apart.pairs(1200, 300) == 4 * together.pairs(300)
    assert apart.pairs(300, 1200) == apart.pairs(300, None) == together.pairs(300)
    assert together.pairs(1200, 300) == together.pairs(1200)


@pytest.mark.parametrize("kernel", [FlashAttention, EfficientAttention])
def test_a_fused_attention_without_a_mask_makes_the_products_that_torch_has_a_formula_for(
    kernel: type[torch.autograd.Function],
) -> None:
    shape = (2, 4, 128, 16)
    query, key, value = (values(*shape, dtype=torch.bfloat16).requires_grad_() for _ in range(3))
    others = (None,) if kernel is EfficientAttention else ()
    watch = StorageWatch("meta")
    with watch:
        output = kernel.apply(query, key, value, *others, Attends(causal=False))
        output.backward(torch.empty_like(output))
    work = watch.work()
    flops = {
        operation.name: int(flops) * int(operation.attends.pairs(int(tokens)))
        for operation, flops, tokens in zip(work.operations, work.flops, work.tokens, strict=True)
        if operation.attends
    }
    assert flops["attention"] == sdpa_flop_count(shape, shape, shape)
    assert flops["attention_backward"] == sdpa_backward_flop_count(shape, shape, shape, shape)


def test_a_kernel_that_computes_more_than_can_be_counted_leaves_the_work_unknown() -> None:
    watch = StorageWatch("meta")
    with watch:
        values(1 << 22, 1 << 20) @ values(1 << 20, 1 << 22)
    assert watch.work().operations == ()


@pytest.mark.parametrize(
    "multiply",
    [
        lambda: values(3, 5) @ values(5, 7),
        lambda: torch.bmm(values(2, 3, 5), values(2, 5, 7)),
        lambda: torch.addmm(values(7), values(3, 5), values(5, 7)),
        lambda: torch.baddbmm(values(2, 3, 7), values(2, 3, 5), values(2, 5, 7)),
        lambda: F.conv1d(values(2, 4, 9), values(6, 4, 3)),
    ],
)
def test_products_are_counted_as_torch_counts_them(multiply: Callable[[], object]) -> None:
    with FlopCounterMode(display=False) as counter:
        multiply()
    assert work_of(multiply).flops.sum() == counter.get_total_flops() > 0


def test_a_product_added_in_place_makes_as_many_as_one_with_a_result_of_its_own() -> None:
    factors = values(3, 5), values(5, 7)
    inside, beside = work_of(lambda: values(3, 7).addmm_(*factors)), work_of(lambda: values(3, 7).addmm(*factors))
    assert inside.flops.tolist() == beside.flops.tolist() == [2 * 3 * 5 * 7]
