"""Where CUDA allocates otherwise than meta: autocast, dropout, half softmax."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lora_explorer.memory.kernels.cuda import CudaOperators
from lora_explorer.memory.watching.watch import StorageWatch

BF16 = torch.bfloat16


def operators(autocast: torch.dtype | None = None) -> CudaOperators:
    return CudaOperators(StorageWatch("meta"), autocast, flash_kernels=True)


def meta(*shape: int, dtype: torch.dtype = torch.float32, trained: bool = False) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=trained)


def test_autocast_computes_products_in_the_lower_type_and_sensitive_operators_in_float32() -> None:
    with operators(BF16):
        assert F.linear(meta(4, 8), meta(16, 8)).dtype is BF16
        assert (meta(4, 8) @ meta(8, 2)).dtype is BF16
        assert F.softmax(meta(4, 8, dtype=BF16), dim=-1).dtype is torch.float32
        assert F.layer_norm(meta(4, 8, dtype=BF16), (8,)).dtype is torch.float32
        assert (meta(4, dtype=BF16) * 2).dtype is BF16


def test_without_autocast_types_are_left_alone() -> None:
    with operators():
        assert F.linear(meta(4, 8), meta(16, 8)).dtype is torch.float32


def test_the_cast_of_a_trained_weight_is_made_once_until_it_is_forgotten() -> None:
    weight, mode = meta(16, 8, trained=True), operators(BF16)
    watch = StorageWatch("meta")
    with mode, watch:
        for _ in range(3):
            F.linear(meta(1, 8, dtype=BF16), weight)
        assert list(watch.trace().sizes_bytes).count(16 * 8 * 2) == 1
        mode.forget_casts()
        F.linear(meta(1, 8, dtype=BF16), weight)
        assert list(watch.trace().sizes_bytes).count(16 * 8 * 2) == 2


def test_code_can_switch_autocast_off_for_meta_tensors() -> None:
    mode = operators(BF16)
    with mode.meta_autocast(), mode:
        with torch.autocast("meta", enabled=False):
            assert F.linear(meta(4, 8), meta(16, 8)).dtype is torch.float32
        assert F.linear(meta(4, 8), meta(16, 8)).dtype is BF16
    assert isinstance(torch.autocast, type)


def test_dropout_keeps_one_byte_of_mask_an_element() -> None:
    value = meta(8, 8, trained=True)
    watch = StorageWatch("meta")
    with operators(), watch:
        output = F.dropout(value, 0.1, training=True)
    assert sorted(watch.trace().sizes_bytes) == [64, 256]
    del output


def test_half_scores_are_read_by_softmax_without_a_float32_copy() -> None:
    scores = meta(8, 8, dtype=torch.float16, trained=True)
    watch = StorageWatch("meta")
    with operators(), watch:
        output = F.softmax(scores, dim=-1, dtype=torch.float32)
    assert watch.trace().sizes_bytes == (256,)
    output.sum().backward()
    assert scores.grad is not None
    assert scores.grad.dtype is torch.float16


def test_sums_of_half_values_come_out_in_float32_without_a_float32_copy_of_what_goes_in() -> None:
    value = meta(64, 8, dtype=BF16)
    with operators(BF16), StorageWatch("meta") as watch:
        total = value.sum(dim=0)
    assert total.dtype is torch.float32
    assert watch.trace().sizes_bytes == (8 * 4,)


def test_softmax_under_half_autocast_reads_the_scores_as_they_are() -> None:
    scores = meta(8, 8, dtype=torch.float16, trained=True)
    with operators(torch.float16), StorageWatch("meta") as watch:
        output = F.softmax(scores, dim=-1)
    assert watch.trace().sizes_bytes == (256,)
    assert output.dtype is torch.float32


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
def test_rms_norm_is_one_kernel_where_types_agree_and_several_operators_where_not() -> None:
    value = meta(4, 16, dtype=BF16, trained=True)
    sizes = []
    for dtype in (BF16, torch.float32):
        with operators(), StorageWatch("meta") as watch:
            output = F.rms_norm(value, (16,), meta(16, dtype=dtype))
        sizes.append(watch.trace().sizes_bytes[-2:] if dtype is BF16 else watch.trace().sizes_bytes)
        del output
    assert sorted(sizes[0]) == [4 * 4, 4 * 16 * 2]
    assert len(sizes[1]) > 4
