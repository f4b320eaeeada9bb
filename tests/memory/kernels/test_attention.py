"""Fused attention: what is kept and what is made, whichever kernel runs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_explorer.memory.kernels.attention import fused_attention, knows_lengths, packed_attention, varlen_attention
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.traced_run import trace_run
from lora_explorer.memory.watching.watch import StorageWatch

from ..models import LLAMA, Lora, peak_of, skeleton_of


def inputs(heads: int, key_heads: int, tokens: int, width: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """query, key and value in float16."""

    def one(count: int) -> Tensor:
        return torch.empty(2, count, tokens, width, dtype=torch.float16, device="meta", requires_grad=True)

    return one(heads), one(key_heads), one(key_heads)


def forward_sizes(has_flash: bool, tokens: int, **options: bool) -> int:
    query, key, value = inputs(4, 4, tokens)
    with StorageWatch("meta") as watch:
        output = fused_attention(has_flash, query, key, value, **options)
    del output
    return sum(watch.trace().sizes_bytes)


def test_bfloat16_without_flash_kernels_stores_the_scores_as_no_fused_kernel_takes_it() -> None:
    query, key, value = (tensor.detach().bfloat16() for tensor in inputs(4, 4, 1024))
    with StorageWatch("meta") as watch:
        fused_attention(False, query, key, value)
    assert max(watch.trace().sizes_bytes) >= 2 * 4 * 1024 * 1024 * 2
    assert forward_sizes(False, 1024) < 2 * 4 * 1024 * 1024 * 2


@pytest.mark.parametrize("has_flash", [True, False])
def test_twice_the_tokens_keep_twice_the_bytes(has_flash: bool) -> None:
    assert forward_sizes(has_flash, 2048) == 2 * forward_sizes(has_flash, 1024)


def test_scores_are_never_stored() -> None:
    query, key, value = inputs(4, 4, 1024)
    with StorageWatch("meta") as watch:
        fused_attention(True, query, key, value).sum().backward()
    assert max(watch.trace().sizes_bytes) < 2 * 4 * 1024 * 1024


def test_the_log_sum_exp_is_one_float_for_each_head_and_token() -> None:
    query, key, value = inputs(4, 4, 1024)
    with StorageWatch("meta") as watch:
        output = fused_attention(True, query, key, value)
    assert watch.trace().sizes_bytes == (output.numel() * 2, 2 * 4 * 1024 * 4)


def test_gradients_have_the_shapes_of_their_tensors_also_with_grouped_keys() -> None:
    query, key, value = inputs(8, 2, 256)
    fused_attention(True, query, key, value, enable_gqa=True).sum().backward()
    assert [t.grad.shape for t in (query, key, value) if t.grad is not None] == [t.shape for t in (query, key, value)]


def test_grouped_keys_without_a_flash_kernel_store_the_scores_in_float32() -> None:
    query, key, value = inputs(8, 2, 1024)
    with StorageWatch("meta") as watch:
        output = fused_attention(False, query, key, value, is_causal=True, enable_gqa=True)
        output.sum().backward()
    scores = 2 * 8 * 1024 * 1024
    assert watch.trace().sizes_bytes.count(4 * scores) >= 3
    with StorageWatch("meta") as fused:
        fused_attention(True, query, key, value, is_causal=True, enable_gqa=True).sum().backward()
    assert max(fused.trace().sizes_bytes) < scores


def test_repeated_keys_keep_the_scores_out_of_memory_on_any_card() -> None:
    step = Step(1, 512, dtype="float16", attention="sdpa", flash_kernels=False, attention_mask=False)
    skeleton = skeleton_of(LLAMA)
    stored, repeated = (
        peak_of(trace_run(skeleton, each, Lora()).trace) for each in (step, replace(step, repeats_keys=True))
    )
    scores = 4 * 512 * 512
    assert stored > repeated + 4 * scores
    with_flash = replace(step, flash_kernels=True)
    traces = [trace_run(skeleton, each, Lora()).trace for each in (with_flash, replace(with_flash, repeats_keys=True))]
    assert peak_of(traces[0]) < peak_of(traces[1])  # the copies


def test_xformers_repeats_grouped_keys_where_flash_attention_reads_them_as_they_are() -> None:
    step = Step(1, 512, attention="varlen")
    skeleton = skeleton_of(LLAMA)
    grouped, repeated = (
        trace_run(skeleton, each, Lora()).trace for each in (step, replace(step, attention="repeated"))
    )
    all_heads = 512 * 64 * 2
    assert repeated.sizes_bytes.count(all_heads) > grouped.sizes_bytes.count(all_heads)
    assert peak_of(repeated) > peak_of(grouped)


def test_a_boolean_mask_becomes_an_additive_one_that_is_kept() -> None:
    query, key, value = inputs(4, 4, 256)
    mask = torch.empty(2, 1, 256, 256, dtype=torch.bool, device="meta")
    with StorageWatch("meta") as watch:
        output = fused_attention(True, query, key, value, attn_mask=mask)
    assert mask.numel() * 2 in watch.trace().sizes_bytes
    del output


def test_values_narrower_than_keys_come_out_in_their_own_width() -> None:
    query, key, _ = inputs(4, 4, 128, width=96)
    value = torch.empty(2, 4, 128, 64, dtype=torch.bfloat16, device="meta")
    assert fused_attention(True, query, key, value).shape == (2, 4, 128, 64)
    output, _ = varlen_attention(torch.nn.Identity(), query, key, value, None)
    assert output.shape == (2, 128, 4, 64)


PACKED = Step(2, 512, attention="sdpa", packed=True)


def test_packed_documents_are_kept_apart_without_a_mask_over_keys_repeated_to_all_heads() -> None:
    packed, one_document = (
        trace_run(skeleton_of(LLAMA), step, Lora()).trace for step in (PACKED, replace(PACKED, packed=False))
    )
    assert max(packed.sizes_bytes) == max(one_document.sizes_bytes)
    all_heads = 2 * 512 * 64 * 2
    assert packed.sizes_bytes.count(all_heads) > one_document.sizes_bytes.count(all_heads)


def test_documents_that_see_each_other_need_neither() -> None:
    mixed = trace_run(skeleton_of(LLAMA), replace(PACKED, attention=None, mixed=True), Lora()).trace
    one_document = trace_run(skeleton_of(LLAMA), replace(PACKED, packed=False), Lora()).trace
    # Only the positions are new: those of every row instead of one.
    assert 0 < peak_of(mixed) - peak_of(one_document) < 2 * 512 * 16 * 8


@pytest.mark.parametrize(
    "facts",
    [{"sliding_window": 256}, {"head_dim": 320}, {"model_type": "qwen4_exp"}],
    ids=lambda facts: next(iter(facts)),
)
def test_a_mask_keeps_documents_apart_where_their_lengths_cannot_be_told(facts: dict[str, Any]) -> None:
    llama = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}
    assert knows_lengths(SimpleNamespace(**llama))
    assert not knows_lengths(SimpleNamespace(**{**llama, **facts}))


def test_a_window_that_no_layer_has_slides_nowhere() -> None:
    facts = {"model_type": "qwen2", "head_dim": 64, "sliding_window": 256}
    assert knows_lengths(SimpleNamespace(**facts, layer_types=["full_attention"]))
    assert not knows_lengths(SimpleNamespace(**facts, layer_types=["full_attention", "sliding_attention"]))


def test_values_narrower_than_keys_cannot_be_told_by_length() -> None:
    facts = {"model_type": "deepseek_v3", "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
    assert not knows_lengths(SimpleNamespace(**facts, head_dim=64))


def test_a_scale_of_its_own_takes_a_packed_row_back_to_a_mask() -> None:
    query, key, value = (tensor.detach() for tensor in inputs(4, 2, 320))
    positions = torch.zeros(2, 320, dtype=torch.int64, device="meta")
    module = torch.nn.Module()
    module.num_key_value_groups = 2  # type: ignore[assignment]
    found = []
    for scaling in (64**-0.5, 0.5):
        with StorageWatch("meta") as watch:
            output, _ = packed_attention(module, query, key, value, None, scaling=scaling, position_ids=positions)
        assert output.shape == (2, 320, 4, 64)
        found.append(2 * 320 * 320 in watch.trace().sizes_bytes)
    assert found == [False, True]
