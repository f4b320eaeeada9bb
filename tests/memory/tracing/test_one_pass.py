"""The trace on meta against the same step on real tensors, and what switches do to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.tracing.layers import whole_stack
from lora_explorer.memory.tracing.one_pass import trace_step
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything, base_of, prepare
from lora_explorer.memory.watching.trace import Trace

from ..models import GEMMA_3, LLAMA, MIXTRAL, Lora, peak_of, skeleton_of

STEP = Step(micro_batch_size=2, sequence_len=64, dtype="float32", autocast=False, attention="eager")


def traced(skeleton: Skeleton, step: Step, adapter: Adapter, device: str = "meta") -> Trace:
    model = prepare(skeleton, whole_stack(skeleton.num_layers), step, adapter)
    if device == "cpu":
        make_real(model)
    layers = {number: base_of(model).get_submodule(path) for number, path in enumerate(skeleton.layer_paths)}
    return trace_step(model, layers, step, device=device)


def make_real(model: nn.Module) -> None:
    """Give every parameter and buffer memory and a harmless value."""
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.fill_(0.01)


@pytest.mark.parametrize(
    ("config", "step", "adapter"),
    [
        (LLAMA, STEP, Lora()),
        (LLAMA, replace(STEP, dtype="bfloat16"), Lora(targets=("q_proj", "gate_proj", "down_proj"))),
        (LLAMA, replace(STEP, checkpointing="reentrant"), Lora()),
        (LLAMA, replace(STEP, checkpointing="non-reentrant", attention="sdpa"), Lora()),
        (LLAMA, replace(STEP, autocast=True, dtype="bfloat16"), Lora()),
        (LLAMA, replace(STEP, keeps_outputs=True), Everything()),
        (LLAMA, replace(STEP, accumulates=True), Lora()),
        (LLAMA, replace(STEP, loss="liger fused"), Lora()),
        (GEMMA_3, STEP, Lora()),
    ],
)
def test_a_step_on_real_tensors_leaves_the_same_bytes_behind(config: Any, step: Step, adapter: Adapter) -> None:
    skeleton = skeleton_of(config)
    meta, real = traced(skeleton, step, adapter), traced(skeleton, step, adapter, "cpu")
    assert real.sizes_bytes == meta.sizes_bytes
    assert real.events == meta.events
    assert real.categories == meta.categories


def test_a_trace_is_the_same_every_time() -> None:
    first, second = (traced(skeleton_of(MIXTRAL), STEP, Lora()) for _ in range(2))
    assert first == second


def test_fused_attention_makes_activations_grow_in_proportion_to_tokens() -> None:
    skeleton = skeleton_of(LLAMA)
    short, long = (
        peak_of(traced(skeleton, Step(2, tokens, attention="sdpa", autocast=False), Lora())) for tokens in (512, 1024)
    )
    assert long == pytest.approx(2 * short, rel=0.01)


def test_eager_attention_makes_them_grow_faster() -> None:
    skeleton = skeleton_of(LLAMA)
    short, long = (peak_of(traced(skeleton, replace(STEP, sequence_len=tokens), Lora())) for tokens in (512, 1024))
    assert long > 2.5 * short


def test_checkpointing_lowers_the_peak() -> None:
    skeleton = skeleton_of(LLAMA)
    plain = peak_of(traced(skeleton, STEP, Lora()))
    for checkpointing in ("reentrant", "non-reentrant"):
        assert peak_of(traced(skeleton, replace(STEP, checkpointing=checkpointing), Lora())) < 0.6 * plain


def test_gradients_are_those_of_the_trained_parameters() -> None:
    trace = traced(skeleton_of(LLAMA), STEP, Lora(r=8))
    per_layer = 8 * (64 + 64) + 2 * 8 * (64 + 32) + 8 * (64 + 64)
    gradients = [size for size, kind in zip(trace.sizes_bytes, trace.categories, strict=True) if kind == "gradients"]
    assert sum(gradients) == 7 * per_layer * 4


def test_earlier_gradients_make_new_ones_temporary() -> None:
    trace = traced(skeleton_of(LLAMA), replace(STEP, accumulates=True), Lora())
    assert "gradients" not in trace.categories


def test_outputs_that_are_kept_die_only_after_the_optimizer_step() -> None:
    skeleton = skeleton_of(LLAMA)
    logits = 2 * 64 * 512 * 4
    for keeps, expected in ((True, True), (False, False)):
        trace = traced(skeleton, replace(STEP, keeps_outputs=keeps), Lora())
        assert (logits in [trace.sizes_bytes[number] for number in trace.finish]) is expected


def test_every_layer_has_its_stretch_forward_and_backward() -> None:
    trace = traced(skeleton_of(LLAMA), STEP, Lora())
    for phase, order in (("forward", list(range(7))), ("backward", list(range(6, -1, -1)))):
        found = [s.layer for _, s in trace.marks if s.phase == phase and s.layer is not None]
        assert found == order


def test_a_trainer_lets_the_graph_go_before_the_optimizer_steps() -> None:
    # bitsandbytes' 8-bit product keeps its input where neither autograd nor checkpointing knows of it.
    step = replace(STEP, dtype="bfloat16", quantization=Quantization("int8"), checkpointing="non-reentrant")
    trace = traced(skeleton_of(LLAMA), step, Lora())
    ids, labels, mask, loss = 2 * 64 * 8, 2 * 64 * 8, 2 * 64 * 8, 4
    assert sum(trace.sizes_bytes[number] for number in trace.finish) == ids + labels + mask + loss
