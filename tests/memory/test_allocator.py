"""The caching allocator: PyTorch's rules, and the invariants that no sequence of requests may break."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_explorer.memory.allocator import Block, CachingAllocator, OutOfMemory, rounded_size, segment_size

MIB = 1 << 20
sizes = st.one_of(st.integers(1, 4096), st.integers(1, 3 * MIB), st.integers(1, 64 * MIB))
actions = st.lists(st.tuples(st.booleans(), sizes, st.integers(0, 1 << 30)), max_size=120)


def play(allocator: CachingAllocator, steps: list[tuple[bool, int, int]]) -> list[Block]:
    """Allocate, or release one of the blocks that are alive."""
    alive: list[Block] = []
    for allocates, size, choice in steps:
        if allocates or not alive:
            alive.append(allocator.allocate(size))
        else:
            allocator.release(alive.pop(choice % len(alive)))
    return alive


@given(actions)
def test_blocks_that_are_alive_never_overlap(steps: list[tuple[bool, int, int]]) -> None:
    alive = sorted(play(CachingAllocator(), steps), key=lambda block: block.address)
    for lower, upper in pairwise(alive):
        assert lower.address + lower.size <= upper.address


@given(actions)
def test_what_is_allocated_is_the_sum_of_blocks_and_never_more_than_is_reserved(
    steps: list[tuple[bool, int, int]],
) -> None:
    allocator = CachingAllocator()
    alive = play(allocator, steps)
    assert allocator.allocated_bytes == sum(block.size for block in alive)
    assert allocator.allocated_bytes <= allocator.reserved_bytes <= allocator.peak_reserved_bytes


@given(actions)
def test_releasing_everything_leaves_only_whole_segments_which_can_be_given_back(
    steps: list[tuple[bool, int, int]],
) -> None:
    allocator = CachingAllocator()
    for block in play(allocator, steps):
        allocator.release(block)
    assert allocator.allocated_bytes == 0
    allocator.empty_cache()
    assert allocator.reserved_bytes == 0


@given(actions, st.integers(0, 512 * MIB))
@settings(max_examples=60)
def test_no_more_is_reserved_than_the_device_has(steps: list[tuple[bool, int, int]], capacity: int) -> None:
    allocator = CachingAllocator(capacity)
    with suppress(OutOfMemory):
        play(allocator, steps)
    assert allocator.peak_reserved_bytes <= capacity


@given(sizes)
def test_a_block_holds_its_request_and_wastes_less_than_the_smallest_split(size: int) -> None:
    allocator = CachingAllocator()
    block = allocator.allocate(size)
    assert block.size >= size
    assert block.size % 512 == 0
    assert block.size - rounded_size(size) <= MIB


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
    assert segment_size(rounded_size(request_bytes)) == segment


def test_a_remainder_of_up_to_one_mebibyte_stays_with_a_large_block_and_counts_as_allocated() -> None:
    allocator = CachingAllocator()
    allocator.release(allocator.allocate(20 * MIB))
    assert allocator.allocate(19 * MIB).size == 20 * MIB
    assert allocator.allocated_bytes == 20 * MIB


def test_a_larger_remainder_is_split_off_and_used_again() -> None:
    allocator = CachingAllocator()
    allocator.release(allocator.allocate(20 * MIB))
    allocator.allocate(15 * MIB)
    allocator.allocate(5 * MIB)
    assert allocator.reserved_bytes == 20 * MIB


def test_the_best_fitting_block_is_taken_not_the_first() -> None:
    allocator = CachingAllocator()
    large, small = allocator.allocate(60 * MIB), allocator.allocate(30 * MIB)
    address = small.address
    allocator.release(large)
    allocator.release(small)
    assert allocator.allocate(30 * MIB).address == address


def test_a_full_device_gives_cached_segments_back_and_tries_again() -> None:
    allocator = CachingAllocator(capacity_bytes=100 * MIB)
    allocator.release(allocator.allocate(60 * MIB))
    allocator.allocate(70 * MIB)
    assert allocator.reserved_bytes == 70 * MIB


def test_a_device_that_is_really_full_refuses() -> None:
    allocator = CachingAllocator(capacity_bytes=100 * MIB)
    allocator.allocate(60 * MIB)
    with pytest.raises(OutOfMemory):
        allocator.allocate(50 * MIB)
