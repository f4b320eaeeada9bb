"""Loss kernels: which of them hold the logits, and how often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lora_explorer.memory.losses import Loss
from lora_explorer.memory.step import Step
from lora_explorer.memory.trace import Trace
from lora_explorer.memory.traced_run import trace_run

from .models import LLAMA, Lora, peak_of, skeleton_of

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
    losses: tuple[Loss, ...] = ("plain", "chunked", "liger", "liger fused", "cut")
    peaks = [peak_of(traced(loss)) for loss in losses]
    assert peaks == sorted(peaks, reverse=True)


def test_the_loss_is_named_among_the_parts() -> None:
    trace = traced("plain")
    named = [size for size, kind in zip(trace.sizes_bytes, trace.categories, strict=True) if kind == "logits and loss"]
    assert named.count(2 * BF16_LOGITS) >= 3
