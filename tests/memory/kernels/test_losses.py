"""Loss kernels: which of them hold the logits, and how often."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lora_explorer.memory.kernels.cuda import CudaOperators
from lora_explorer.memory.kernels.losses import LigerFusedLoss, Loss
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.traced_run import trace_run
from lora_explorer.memory.watching.trace import Trace
from lora_explorer.memory.watching.watch import StorageWatch

from ..models import LLAMA, Lora, peak_of, recipe_of, skeleton_of

VOCABULARY = 32_000
STEP = Step(1, 512, checkpointing="reentrant", outputs_to_float32=False)
BF16_LOGITS = 512 * VOCABULARY * 2


def traced(loss: Loss) -> Trace:
    return trace_run(skeleton_of({**LLAMA, "vocab_size": VOCABULARY}), replace(STEP, loss=loss), Lora()).trace


@pytest.mark.parametrize("loss", ["liger fused", "cut"])
def test_fused_losses_never_hold_the_logits_of_the_whole_batch(loss: Loss) -> None:
    assert max(traced(loss).sizes_bytes) < BF16_LOGITS


def test_ligers_chunks_are_about_as_large_as_the_hidden_states() -> None:
    trace = traced("liger fused")
    logits = max(s for s, kind in zip(trace.sizes_bytes, trace.categories, strict=True) if kind == "logits and loss")
    assert logits <= 2 * 512 * 64 * 2 + VOCABULARY * 2


def test_the_plain_loss_holds_three_float32_copies_at_its_peak() -> None:
    assert 3 * 2 * BF16_LOGITS < peak_of(traced("plain")) < 3.5 * 2 * BF16_LOGITS


def test_losses_are_ordered_by_what_they_save() -> None:
    losses: tuple[Loss, ...] = ("plain", "liger", "chunked", "liger fused", "cut")
    peaks = [peak_of(traced(loss)) for loss in losses]
    assert peaks == sorted(peaks, reverse=True)


def test_ligers_loss_needs_one_float32_copy_and_no_gradient_beside_it() -> None:
    trace = traced("liger")
    assert list(trace.sizes_bytes).count(2 * BF16_LOGITS) == 1
    assert 3 * BF16_LOGITS <= peak_of(trace) < 3.1 * BF16_LOGITS  # that copy and the gradient in the training type


def test_the_compiled_chunks_never_hold_float32_logits() -> None:
    trace = traced("chunked")
    assert 2 * BF16_LOGITS not in trace.sizes_bytes
    assert 2 * BF16_LOGITS <= peak_of(trace) < 2.1 * BF16_LOGITS  # the chunks' gradients beside the logits or their sum


@pytest.mark.parametrize("chunks", [4, 16])
def test_chunks_are_as_many_as_asked_for(chunks: int) -> None:
    step = replace(STEP, loss="chunked", loss_chunks=chunks)
    trace = trace_run(skeleton_of({**LLAMA, "vocab_size": VOCABULARY}), step, Lora()).trace
    assert list(trace.sizes_bytes).count(BF16_LOGITS // chunks) >= chunks


def test_the_number_of_chunks_comes_from_its_setting() -> None:
    chunked = {"chunked_cross_entropy": True}
    assert step_from(recipe_of(**chunked), None).loss_chunks == 8
    assert step_from(recipe_of(**chunked, chunked_cross_entropy_num_chunks=3), None).loss_chunks == 3


@pytest.mark.parametrize("loss", ["liger fused", "cut"])
def test_a_head_that_is_trained_costs_its_gradient_in_a_fused_loss(loss: Loss) -> None:
    head = (("modules_to_save", ["lm_head"]),)
    step = replace(STEP, loss=loss)
    skeleton = skeleton_of({**LLAMA, "vocab_size": VOCABULARY})
    frozen, trained = (trace_run(skeleton, step, Lora(options=options)).trace for options in ((), head))
    weight = VOCABULARY * 64 * 2
    assert weight not in frozen.sizes_bytes
    assert weight in trained.sizes_bytes


def test_hidden_states_of_another_type_than_the_head_convert_the_head_in_every_chunk() -> None:
    hidden = torch.empty(512, 64, dtype=torch.bfloat16, device="meta", requires_grad=True)
    for dtype, logits in ((torch.bfloat16, 1), (torch.float32, 256)):
        weight = torch.empty(VOCABULARY, 64, dtype=dtype, device="meta")
        watch = StorageWatch("meta")
        watch.ignore(iter([hidden, weight]))
        with watch, CudaOperators(watch, torch.bfloat16, flash_kernels=True):
            LigerFusedLoss.apply(hidden, weight)
        assert len([size for size in watch.trace().sizes_bytes if size == 2 * VOCABULARY * 2]) == logits


def test_the_loss_is_named_among_the_parts() -> None:
    trace = traced("plain")
    named = [size for size, kind in zip(trace.sizes_bytes, trace.categories, strict=True) if kind == "logits and loss"]
    assert named.count(2 * BF16_LOGITS) >= 3
