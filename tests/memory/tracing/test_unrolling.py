"""A few layers stand for all: the written-out trace equals the trace of every layer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.replay.timeline import parts_at, replay
from lora_explorer.memory.runs.traced_run import TracedRun, timeline_of, trace_run
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything

from ..models import DEEPSEEK, GEMMA_3, GPT_OSS, LLAMA, MIXTRAL, Lora, peak_of, skeleton_of

STEP = Step(micro_batch_size=2, sequence_len=128)
CHECKPOINTED = replace(STEP, checkpointing="reentrant")
MLP = ("gate_proj", "up_proj", "down_proj")
CASES: dict[str, tuple[dict[str, Any], Step, Adapter]] = {
    "dense": (LLAMA, STEP, Lora()),
    "dense, dropout": (LLAMA, STEP, Lora(dropout=0.1, targets=MLP)),
    "dense, reentrant checkpointing": (LLAMA, CHECKPOINTED, Lora()),
    "dense, other checkpointing": (LLAMA, replace(STEP, checkpointing="non-reentrant"), Lora()),
    "dense, eager": (LLAMA, replace(STEP, attention="eager"), Lora()),
    "dense, no gradient enters the layers": (LLAMA, replace(STEP, inputs_require_grads=False), Lora()),
    "some layers only": (LLAMA, STEP, Lora(layers=(2, 4))),
    "some layers only, nothing before them": (LLAMA, replace(STEP, inputs_require_grads=False), Lora(layers=(2, 4))),
    "4-bit": (LLAMA, replace(CHECKPOINTED, quantization=Quantization("nf4"), kbit_preparation=True), Lora()),
    "8-bit": (LLAMA, replace(CHECKPOINTED, quantization=Quantization("int8"), kbit_preparation=True), Lora()),
    "saved copies": (LLAMA, STEP, Lora(options=(("modules_to_save", ["lm_head", "embed_tokens"]),))),
    "DoRA": (LLAMA, STEP, Lora(options=(("use_dora", True),))),
    "full fine-tuning": (LLAMA, replace(STEP, inputs_require_grads=False), Everything()),
    "mixture of experts": (MIXTRAL, CHECKPOINTED, Lora()),
    "4-bit experts": (MIXTRAL, replace(CHECKPOINTED, quantization=Quantization("nf4", experts=True)), Lora()),
    "sliding and full attention": (GEMMA_3, CHECKPOINTED, Lora()),
    "dense layers first": (DEEPSEEK, CHECKPOINTED, Lora(targets=("q_a_proj", "o_proj"))),
    "experts with sinks": (GPT_OSS, STEP, Lora()),
}


def both(case: str) -> tuple[TracedRun, TracedRun, Step]:
    config, step, adapter = CASES[case]
    skeleton = skeleton_of(config)
    return trace_run(skeleton, step, adapter), trace_run(skeleton, step, adapter, full_depth=True), step


@pytest.mark.parametrize("case", CASES)
def test_a_few_layers_written_out_equal_all_layers_traced(case: str) -> None:
    shallow, full, step = both(case)
    assert full.stack.is_whole
    assert Counter(shallow.trace.sizes_bytes) == Counter(full.trace.sizes_bytes)
    assert peak_of(shallow.trace) == peak_of(full.trace)
    assert Counter(shallow.trained) == Counter(full.trained)
    assert [(r.path, r.size_bytes) for r in shallow.residents] == [(r.path, r.size_bytes) for r in full.residents]
    first, second = (replay(timeline_of(run, step, 0)) for run in (shallow, full))
    assert first.peaks_bytes == second.peaks_bytes
    assert first.peak_reserved_bytes == pytest.approx(second.peak_reserved_bytes, rel=1e-3)


@pytest.mark.parametrize("case", ["dense", "mixture of experts", "sliding and full attention", "dense layers first"])
def test_fewer_layers_are_traced_than_there_are(case: str) -> None:
    config, step, adapter = CASES[case]
    stack = trace_run(skeleton_of(config), step, adapter).stack
    assert 3 <= len(stack.kept) <= 5 < len(stack.stands_in)


@pytest.mark.parametrize("case", CASES)
def test_parts_of_the_peak_are_the_same_and_add_up(case: str) -> None:
    shallow, full, step = both(case)
    parts = []
    for run in (shallow, full):
        timeline = timeline_of(run, step, 8 << 20)
        result = replay(timeline)
        parts.append(parts_at(timeline, result.peak_position, result.peak_allocated_bytes))
        assert sum(parts[-1].values()) == result.peak_allocated_bytes
        assert min(parts[-1].values()) >= 0
    assert parts[0] == parts[1]
