"""The caching allocator: PyTorch's rules, held against a plain model of them, and what no order of requests breaks."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.replay.allocator import Occupancy, occupy, occupy_devices

from ..allocator_model import Full, PlainAllocator

MIB = 1 << 20
sizes = st.one_of(st.integers(1, 4096), st.integers(1, 3 * MIB), st.integers(1, 64 * MIB), st.just(20 * MIB))
actions = st.lists(st.tuples(st.integers(0, 2), sizes, st.integers(0, 1 << 30)), max_size=150)
capacities = st.one_of(st.none(), st.integers(0, 700 * MIB))


def played(actions: list[tuple[int, int, int]]) -> tuple[list[int], list[int]]:
    """Sizes and events: allocate, or release one of what is alive."""
    requests: list[int] = []
    events: list[int] = []
    alive: list[int] = []
    for action, size, choice in actions:
        if action or not alive:
            alive.append(len(requests))
            events.append(len(requests))
            requests.append(size)
        else:
            events.append(~alive.pop(choice % len(alive)))
    return requests, events


def run(requests: list[int], events: list[int], **options: Any) -> Occupancy:
    return occupy(np.array(requests, np.int64), np.array(events, np.int64), **options)


def requested(*steps: int) -> tuple[list[int], list[int]]:
    """Positive steps ask for so many MiB, negative ones release the n-th request, counted from 1."""
    requests, events = [], []
    for step in steps:
        if step > 0:
            events.append(len(requests))
            requests.append(step * MIB)
        else:
            events.append(step)
    return requests, events


@given(actions, capacities, st.booleans(), st.integers(0, 150))
@settings(max_examples=300, deadline=None)
def test_the_compiled_allocator_does_what_the_plain_model_does(
    actions: list[tuple[int, int, int]], capacity: int | None, expandable: bool, pause: int
) -> None:
    requests, events = played(actions)
    result = run(requests, events, capacity_bytes=capacity, expandable_segments=expandable, emptied=[pause])
    model = PlainAllocator(capacity, expandable=expandable)
    held = {}
    for position, event in enumerate(events):
        if position == pause:
            model.empty_cache()
        try:
            if event >= 0:
                held[event] = model.allocate(requests[event])
            else:
                model.release(held.pop(~event))
        except Full:
            assert (result.outcome.failed_position, result.outcome.failed_request_bytes) == (position, requests[event])
            break
        assert result.allocated_bytes[position] == model.allocated
        assert result.reserved_bytes[position] == model.reserved
    else:
        assert result.outcome.failed_position is None
        assert len(result.allocated_bytes) == len(events)
    assert result.outcome.peak_reserved_bytes == model.peak_reserved


@given(actions, st.lists(st.integers(0, 700 * MIB), min_size=1, max_size=6), st.booleans(), st.integers(0, 150))
@settings(deadline=None)
def test_many_devices_at_once_end_as_each_of_them_alone(
    actions: list[tuple[int, int, int]], capacities: list[int], expandable: bool, pause: int
) -> None:
    requests, events = played(actions)
    options: dict[str, Any] = {"expandable_segments": expandable, "emptied": [pause]}
    unhindered = run(requests, events, **options)
    arrays = np.array(requests, np.int64), np.array(events, np.int64)
    together = occupy_devices(*arrays, unhindered, capacities, **options)
    assert together == [run(requests, events, capacity_bytes=each, **options).outcome for each in capacities]


@given(actions, st.booleans())
@settings(deadline=None)
def test_never_is_more_allocated_than_reserved_nor_less_than_asked_for(
    actions: list[tuple[int, int, int]], expandable: bool
) -> None:
    requests, events = played(actions)
    result = run(requests, events, expandable_segments=expandable)
    asked = np.cumsum([requests[event] if event >= 0 else -requests[~event] for event in events])
    assert (asked <= result.allocated_bytes).all()
    assert (result.allocated_bytes <= result.reserved_bytes).all()


@given(actions, st.integers(0, 512 * MIB), st.booleans())
@settings(deadline=None)
def test_no_more_is_reserved_than_the_device_has(
    actions: list[tuple[int, int, int]], capacity: int, expandable: bool
) -> None:
    requests, events = played(actions)
    result = run(requests, events, capacity_bytes=capacity, expandable_segments=expandable)
    assert result.outcome.peak_reserved_bytes <= capacity


@given(actions, st.booleans())
@settings(deadline=None)
def test_releasing_everything_and_emptying_the_cache_leaves_nothing(
    actions: list[tuple[int, int, int]], expandable: bool
) -> None:
    requests, events = played(actions)
    events += [~storage for storage in range(len(requests)) if ~storage not in events]
    # One more request, after the cache was emptied, is all that the device then holds.
    result = run([*requests, 1], [*events, len(requests)], expandable_segments=expandable, emptied=[len(events)])
    assert result.reserved_bytes[-1] == 2 * MIB
    assert result.allocated_bytes[-1] == 512


@pytest.mark.parametrize(
    ("request_bytes", "segment"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (21 * MIB + 1, 22 * MIB),
    ],
)
def test_segments_have_the_sizes_of_pytorch(request_bytes: int, segment: int) -> None:
    assert run([request_bytes], [0]).reserved_bytes.tolist() == [segment]


@pytest.mark.parametrize(("request_bytes", "pages"), [(1, 2), (MIB, 2), (MIB + 1, 20), (10 * MIB, 20), (21 * MIB, 40)])
def test_expandable_segments_grow_by_pages(request_bytes: int, pages: int) -> None:
    assert run([request_bytes], [0], expandable_segments=True).reserved_bytes.tolist() == [pages * MIB]


def test_a_remainder_of_up_to_one_mebibyte_stays_with_a_large_block_and_counts_as_allocated() -> None:
    requests, events = requested(20, -1, 19)
    assert run(requests, events).allocated_bytes[-1] == 20 * MIB
    assert run(requests, events, expandable_segments=True).allocated_bytes[-1] == 19 * MIB


def test_a_larger_remainder_is_split_off_and_used_again() -> None:
    assert run(*requested(20, -1, 15, 5)).reserved_bytes[-1] == 20 * MIB


def test_the_best_fitting_block_is_taken_not_the_first() -> None:
    # Were the 30 MiB cut from the 60, the last request would need a new segment.
    assert run(*requested(60, 30, -1, -2, 30, 60)).outcome.peak_reserved_bytes == 90 * MIB


def test_a_full_device_gives_cached_segments_back_and_goes_on() -> None:
    result = run(*requested(60, -1, 70), capacity_bytes=100 * MIB)
    assert (result.outcome.failed_position, result.outcome.returns) == (None, 1)
    assert result.reserved_bytes.tolist() == [60 * MIB, 60 * MIB, 70 * MIB]


def test_a_segment_of_which_a_part_is_taken_cannot_be_given_back() -> None:
    # 40 of 60 MiB are free, yet 50 do not fit beside them; expandable segments give the free pages back.
    requests, events = requested(60, -1, 20, 50)
    result = run(requests, events, capacity_bytes=100 * MIB)
    assert (result.outcome.failed_position, result.outcome.failed_request_bytes) == (3, 50 * MIB)
    assert run(requests, events, capacity_bytes=100 * MIB, expandable_segments=True).outcome.failed_position is None


def test_a_device_that_is_really_full_says_where_and_for_how_much() -> None:
    for expandable in (False, True):
        result = run(*requested(60, 50), capacity_bytes=100 * MIB, expandable_segments=expandable)
        assert (result.outcome.failed_position, result.outcome.failed_request_bytes) == (1, 50 * MIB)
        assert len(result.allocated_bytes) == 1


def test_expandable_segments_reserve_less_where_requests_grow() -> None:
    growing = requested(20, -1, 40, -2, 60, -3, 80)
    assert run(*growing).outcome.peak_reserved_bytes == 200 * MIB
    assert run(*growing, expandable_segments=True).outcome.peak_reserved_bytes == 80 * MIB


def test_more_bytes_than_can_be_counted_are_refused_in_a_sentence() -> None:
    with pytest.raises(MemoryUnknown, match="too large"):
        run([1 << 60, 1 << 60], [0, 1])


def test_numba_is_not_imported_before_something_is_replayed() -> None:
    question = "import sys, lora_explorer.memory.estimate; print('numba' in sys.modules)"
    asked = subprocess.run([sys.executable, "-c", question], check=True, capture_output=True, text=True)
    assert asked.stdout.strip() == "False"


def test_without_a_folder_to_keep_it_in_the_kernel_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_explorer.memory.replay import replays

    def njit(*functions: Any, cache: bool = False) -> Any:
        if cache:
            raise RuntimeError("no locator available")
        return functions[0]

    monkeypatch.setattr(replays.numba, "njit", njit)
    assert replays._kept(played) is played
