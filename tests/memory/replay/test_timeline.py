"""Loading and two steps, replayed on devices of several sizes."""

from __future__ import annotations

import pytest

from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.replay.allocator import MIB
from lora_explorer.memory.replay.timeline import parts_at, replay, replay_on_devices
from lora_explorer.memory.runs.traced_run import TracedRun, timeline_of, trace_run
from lora_explorer.memory.tracing.events import Timeline, part_of
from lora_explorer.memory.watching.trace import Segment

from ..models import LLAMA, Lora, skeleton_of

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


def test_a_full_device_says_in_which_layer_and_for_how_many_bytes(run: TracedRun) -> None:
    timeline = timeline_of(run, STEP, 8 * MIB)
    free = replay(timeline)
    failed = replay(timeline, free.after_load_bytes + 30 * MIB)
    assert failed.failed is not None
    assert (failed.failed.phase, failed.failed_request_bytes > 0) == ("forward", True)
    assert failed.peak_allocated_bytes <= failed.peak_reserved_bytes <= free.after_load_bytes + 30 * MIB


def test_cached_segments_that_are_given_back_make_room() -> None:
    # 60 MiB are cached when 70 are asked for, on a device of 100.
    timeline = Timeline()
    timeline.mark(Segment("forward", "layer", 0))
    timeline.died(timeline.born(60 * MIB, "temporaries"))
    timeline.mark(Segment("forward", "layer", 1))
    timeline.born(70 * MIB, "temporaries")
    result = replay(timeline, 100 * MIB)
    assert (result.failed, result.returns, result.peak_reserved_bytes) == (None, 1, 70 * MIB)
    assert replay(timeline, 69 * MIB).failed == Segment("forward", "layer", 1)
    assert replay(timeline, 59 * MIB).failed == Segment("forward", "layer", 0)


def test_an_emptied_cache_is_no_longer_reserved() -> None:
    timeline = Timeline()
    timeline.mark(Segment("load", "embedding"))
    timeline.died(timeline.born(60 * MIB, "temporaries"))
    timeline.empty_cache()
    timeline.born(40 * MIB, "base weights")
    assert replay(timeline).reserved_bytes.tolist() == [60 * MIB, 60 * MIB, 40 * MIB]


@pytest.mark.parametrize("expandable", [False, True])
def test_every_device_ends_as_a_replay_with_its_capacity(run: TracedRun, expandable: bool) -> None:
    timeline = timeline_of(run, STEP, 8 * MIB)
    free = replay(timeline, expandable_segments=expandable)
    capacities = [free.peak_reserved_bytes * share // 16 for share in (18, 16, 15, 12, 8, 1)]
    for capacity, verdict in zip(
        capacities, replay_on_devices(timeline, free, capacities, expandable_segments=expandable), strict=True
    ):
        alone = replay(timeline, capacity, expandable_segments=expandable)
        assert (verdict.failed, verdict.returns) == (alone.failed, alone.returns)
        assert verdict.failed_request_bytes == alone.failed_request_bytes
        assert verdict.peak_reserved_bytes == alone.peak_reserved_bytes


def test_parts_put_behind_each_other_keep_their_storages_marks_and_pauses_apart() -> None:
    part = Timeline()
    part.mark(Segment("forward", "head"))
    part.died(part.born(512, "temporaries"))
    part.empty_cache()
    part.born(1024, "base weights")
    timeline = Timeline()
    timeline.born(256, "gradients")
    assert timeline.extend(part.part) == 1
    assert timeline.extend(part_of(part.part)) == 3
    assert timeline.events.tolist() == [0, 1, ~1, 2, 3, ~3, 4]
    assert timeline.sizes_bytes.tolist() == [256, 512, 1024, 512, 1024]
    assert timeline.categories == ["gradients", *["temporaries", "base weights"] * 2]
    assert [start for start, _ in timeline.marks] == [1, 4]
    assert timeline.emptied == [3, 6]


def test_without_the_second_step_states_would_be_missing_from_the_backward_peak(run: TracedRun) -> None:
    timeline = timeline_of(run, STEP, 0)
    first = next(start for start, segment in timeline.marks if segment.phase == "optimizer")
    one_step = parts_at(timeline, first - 1, 0)
    assert "optimizer states" not in one_step
    assert "optimizer states" in parts_at(timeline, replay(timeline).peak_position, 0)
