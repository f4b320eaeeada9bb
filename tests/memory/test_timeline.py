"""Loading and two steps, replayed on devices of several sizes."""

from __future__ import annotations

import pytest

from lora_explorer.memory.allocator import MIB
from lora_explorer.memory.step import Quantization, Step
from lora_explorer.memory.timeline import parts_at, replay
from lora_explorer.memory.traced_run import TracedRun, timeline_of, trace_run

from .models import LLAMA, Lora, skeleton_of

STEP = Step(1, 256, optimizer="adamw_torch")


@pytest.fixture(scope="module")
def run() -> TracedRun:
    return trace_run(skeleton_of({**LLAMA, "hidden_size": 256, "vocab_size": 8000}), STEP, Lora())


def test_only_what_a_run_holds_is_alive_at_its_end(run: TracedRun) -> None:
    timeline = timeline_of(run, STEP, 8 * MIB)
    at_end = parts_at(timeline, len(timeline.events) - 1, 0)
    assert set(at_end) - {"allocator rounding"} == {"base weights", "adapter", "optimizer states", "workspaces"}
    assert at_end["workspaces"] == 16 * MIB


def test_every_storage_dies_at_most_once_and_after_its_birth(run: TracedRun) -> None:
    alive: set[int] = set()
    for number in timeline_of(run, STEP, 8 * MIB).events:
        if number >= 0:
            alive.add(number)
        else:
            alive.remove(~number)


def test_after_loading_weights_and_adapter_are_there(run: TracedRun) -> None:
    result = replay(timeline_of(run, STEP, 0))
    held = sum(resident.size_bytes for resident in run.residents)
    assert held <= result.after_load_bytes <= held + 600 * len(run.residents) + MIB


def test_quantized_weights_arrive_beside_their_packed_form_and_then_go() -> None:
    step = Step(1, 256, quantization=Quantization("nf4"))
    quantized = trace_run(skeleton_of({**LLAMA, "hidden_size": 2048, "intermediate_size": 8192}), step, Lora())
    result = replay(timeline_of(quantized, step, 0))
    assert result.peaks_bytes["load"] >= result.after_load_bytes
    assert result.after_load_bytes < 1.1 * sum(resident.size_bytes for resident in quantized.residents)


def test_a_device_with_room_changes_nothing(run: TracedRun) -> None:
    timeline = timeline_of(run, STEP, 8 * MIB)
    free = replay(timeline)
    assert replay(timeline, free.peak_reserved_bytes) == free


def test_a_device_smaller_than_the_peak_runs_out_of_memory(run: TracedRun) -> None:
    timeline = timeline_of(run, STEP, 8 * MIB)
    assert replay(timeline, replay(timeline).peak_allocated_bytes - 4 * MIB).failed is not None


def test_without_the_second_step_states_would_be_missing_from_the_backward_peak(run: TracedRun) -> None:
    timeline = timeline_of(run, STEP, 0)
    first = next(start for start, segment in timeline.marks if segment.phase == "optimizer")
    one_step = parts_at(timeline, first - 1, 0)
    assert "optimizer states" not in one_step
    assert "optimizer states" in parts_at(timeline, replay(timeline).peak_position, 0)
