"""Blocks of the caching allocator in a flat array, compiled: a replay is hundreds of thousands of small steps.

Blocks are numbers; what is known of them stands in the rows of a heap. Importing this module imports numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from lora_explorer.memory.replay.allocator import (
    LARGE_SEGMENT_BYTES,
    OWN_SEGMENT_FROM_BYTES,
    SEGMENT_ROUNDING_BYTES,
    SMALL_REQUEST_BYTES,
    SMALL_SEGMENT_BYTES,
    SMALLEST_BLOCK_BYTES,
    UNLIMITED_BYTES,
)
from lora_explorer.memory.watching.trace import Whole

Function = TypeVar("Function", bound=Callable[..., Any])

NONE = -1
_ADDRESS_SPACE_BYTES = UNLIMITED_BYTES // (4 * LARGE_SEGMENT_BYTES) * LARGE_SEGMENT_BYTES
# Pools, and states of blocks. Unmapped: address space of an expandable segment without memory behind it.
SMALL, LARGE = 0, 1
TAKEN, FREE, UNMAPPED = 0, 1, 2
# Rows of a heap, the array in which everything stands. Lists of blocks: the free ones of each pool by size, then
# address; the unmapped ones of each pool and the numbers of blocks that are no more in no order.
FREE_SMALL, FREE_LARGE, UNMAPPED_SMALL, UNMAPPED_LARGE, SPARE = range(5)
# What is known of each block; previous and next are its neighbours in the segment.
SIZE, ADDRESS, PREVIOUS, NEXT, STATE, POOL = range(5, 11)
# Counts: first the lengths of the lists, in their order, then these.
COUNTS = 11
BLOCKS, ALLOCATED, RESERVED, PEAK_RESERVED, LOWEST, CAPACITY, RETURNS, EXPANDABLE = range(5, 13)
ROWS = 13

# What is compiled so becomes a part of what calls it.
compiled: Callable[[Function], Function] = numba.njit  # type: ignore[assignment]


@compiled
def new_heap(storages: int, capacity: int, expandable: bool) -> Whole:  # noqa: FBT001 - for the compiler
    # Between two taken blocks lie at most a free, an unmapped and a free one.
    heap: Whole = np.empty((ROWS, 4 * storages + 16), np.int64)
    heap[COUNTS, :ROWS] = 0
    heap[COUNTS, CAPACITY] = capacity
    if expandable:
        heap[COUNTS, EXPANDABLE] = 1
        # More address space than any device needs, so that a second segment never begins.
        for pool in (SMALL, LARGE):
            space = _new_block(heap, pool * _ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES, pool)
            _put_unmapped(heap, space)
    return heap


@compiled
def copy_of(heap: Whole) -> Whole:
    """Only as much of it as has been used."""
    used = max(heap[COUNTS, BLOCKS], ROWS)
    copy: Whole = np.empty(heap.shape, np.int64)
    copy[:, :used] = heap[:, :used]
    return copy


@compiled
def allocate(heap: Whole, request: int) -> int:
    """A taken block of at least the request, or NONE when the device is full."""
    size = max(SMALLEST_BLOCK_BYTES, _rounded(request, SMALLEST_BLOCK_BYTES))
    pool = SMALL if size <= SMALL_REQUEST_BYTES else LARGE
    place = _best_fit(heap, pool, size)
    if place == NONE:
        place = _new_room(heap, pool, size)
    if place == NONE and give_back(heap):
        heap[COUNTS, RETURNS] += 1
        place = _new_room(heap, pool, size)
    if place == NONE:
        return NONE
    block: int = heap[pool, place]
    remainder = heap[SIZE, block] - size
    if remainder > SMALL_REQUEST_BYTES or (
        remainder >= SMALLEST_BLOCK_BYTES and (pool == SMALL or heap[COUNTS, EXPANDABLE])
    ):
        to = _place(heap, pool, remainder, heap[ADDRESS, block] + size)
        _refile(heap, pool, place, to, _cut(heap, block, size))
        heap[STATE, block] = TAKEN
    else:
        _drop_free(heap, block)
    heap[COUNTS, ALLOCATED] += heap[SIZE, block]
    return block


@compiled
def _best_fit(heap: Whole, pool: int, size: int) -> int:
    """Where the smallest free block that holds the size is listed, or NONE.

    The end of an expandable segment counts with all that it could grow by, so it is the last to be taken.
    """
    place = _place(heap, pool, size, -UNLIMITED_BYTES)
    count = heap[COUNTS, pool]
    if place == count:
        return NONE
    while place + 1 < count and _reach(heap, heap[pool, place + 1]) < _reach(heap, heap[pool, place]):
        place += 1
    return place


@compiled
def _reach(heap: Whole, block: int) -> int:
    """Its size and that of unmapped space behind it."""
    after = heap[NEXT, block]
    grows = after != NONE and heap[STATE, after] == UNMAPPED
    reach: int = heap[SIZE, block] + (heap[SIZE, after] if grows else 0)
    return reach


@compiled
def _new_room(heap: Whole, pool: int, size: int) -> int:
    """Where a free block of memory new from the device is listed, or NONE."""
    block = _grown_room(heap, pool, size) if heap[COUNTS, EXPANDABLE] else _new_segment(heap, pool, size)
    if block == NONE:
        return NONE
    return _place(heap, pool, heap[SIZE, block], heap[ADDRESS, block])


@compiled
def _new_segment(heap: Whole, pool: int, size: int) -> int:
    """A free segment. At which address the driver puts it is documented nowhere, yet decides between blocks of one
    size: falling addresses are assumed, which the tests hold to the reserved bytes of measured runs."""
    segment = SMALL_SEGMENT_BYTES
    if size >= OWN_SEGMENT_FROM_BYTES:
        segment = _rounded(size, SEGMENT_ROUNDING_BYTES)
    elif pool == LARGE:
        segment = LARGE_SEGMENT_BYTES
    if not _reserve(heap, segment):
        return NONE
    heap[COUNTS, LOWEST] -= segment
    block = _new_block(heap, heap[COUNTS, LOWEST], segment, pool)
    _put_free(heap, block)
    return block


@compiled
def _grown_room(heap: Whole, pool: int, size: int) -> int:
    """Free and unmapped neighbours at the lowest address that together hold the size, mapped as far as needed."""
    block = _lowest_space(heap, pool, size)
    if heap[STATE, block] == UNMAPPED and not _map(heap, block, min(size, heap[SIZE, block])):
        return NONE
    while heap[SIZE, block] < size:
        after = heap[NEXT, block]
        if not _map(heap, after, min(size - heap[SIZE, block], heap[SIZE, after])):
            return NONE
    return block


@compiled
def _lowest_space(heap: Whole, pool: int, size: int) -> int:
    """Where a run of free and unmapped blocks begins: at an unmapped one, or at the free one before it."""
    lowest = NONE
    for place in range(heap[COUNTS, UNMAPPED_SMALL + pool]):
        block = heap[UNMAPPED_SMALL + pool, place]
        before = heap[PREVIOUS, block]
        if before != NONE and heap[STATE, before] == FREE:
            block = before
        if (lowest == NONE or heap[ADDRESS, block] < heap[ADDRESS, lowest]) and _has_room(heap, block, size):
            lowest = block
    return lowest


@compiled
def _has_room(heap: Whole, block: int, size: int) -> bool:
    room = 0
    while room < size and block != NONE and heap[STATE, block] != TAKEN:
        room += heap[SIZE, block]
        block = heap[NEXT, block]
    return room >= size


@compiled
def _map(heap: Whole, block: int, size: int) -> bool:
    """Put whole pages behind the beginning of unmapped space, which becomes free."""
    mapped = min(_rounded(size, _page(heap, block)), heap[SIZE, block])
    if not _reserve(heap, mapped):
        return False
    _drop_unmapped(heap, block)
    if mapped < heap[SIZE, block]:
        _put_unmapped(heap, _cut(heap, block, mapped))
    set_free(heap, block)
    return True


@compiled
def give_back(heap: Whole) -> bool:
    """Wholly free segments, or free pages, go back to the device; whether there were any."""
    before = heap[COUNTS, RESERVED]
    for pool in (LARGE, SMALL):
        for block in heap[pool, : heap[COUNTS, pool]].copy():
            if heap[COUNTS, EXPANDABLE]:
                _unmap(heap, block)
            elif heap[PREVIOUS, block] == NONE and heap[NEXT, block] == NONE:
                _drop_free(heap, block)
                heap[COUNTS, RESERVED] -= heap[SIZE, block]
                _retire(heap, block)
    return bool(heap[COUNTS, RESERVED] < before)


@compiled
def _unmap(heap: Whole, block: int) -> None:
    """Take the whole pages out of a free block; what is left of it on either side stays free."""
    address, page = heap[ADDRESS, block], _page(heap, block)
    begin = _rounded(address, page)
    end = (address + heap[SIZE, block]) // page * page
    if begin >= end:
        return
    heap[COUNTS, RESERVED] -= end - begin
    _drop_free(heap, block)
    if end < address + heap[SIZE, block]:
        _put_free(heap, _cut(heap, block, end - address))
    if begin > address:
        middle = _cut(heap, block, begin - address)
        _put_free(heap, block)
        block = middle
    _set_unmapped(heap, block)


@compiled
def _reserve(heap: Whole, size: int) -> bool:
    """Whether the device had as much left."""
    if heap[COUNTS, RESERVED] + size > heap[COUNTS, CAPACITY]:
        return False
    heap[COUNTS, RESERVED] += size
    heap[COUNTS, PEAK_RESERVED] = max(heap[COUNTS, PEAK_RESERVED], heap[COUNTS, RESERVED])
    return True


@compiled
def _new_block(heap: Whole, address: int, size: int, pool: int) -> int:
    """A taken block without neighbours."""
    if heap[COUNTS, SPARE] > 0:
        heap[COUNTS, SPARE] -= 1
        block: int = heap[SPARE, heap[COUNTS, SPARE]]
    else:
        block = heap[COUNTS, BLOCKS]
        heap[COUNTS, BLOCKS] += 1
    heap[ADDRESS, block], heap[SIZE, block], heap[POOL, block] = address, size, pool
    heap[PREVIOUS, block], heap[NEXT, block], heap[STATE, block] = NONE, NONE, TAKEN
    return block


@compiled
def _retire(heap: Whole, block: int) -> None:
    heap[SPARE, heap[COUNTS, SPARE]] = block
    heap[COUNTS, SPARE] += 1


@compiled
def _cut(heap: Whole, block: int, size: int) -> int:
    """Shorten a block to the size; the rest becomes a taken block, which is returned."""
    address, pool = heap[ADDRESS, block] + size, heap[POOL, block]
    rest = _new_block(heap, address, heap[SIZE, block] - size, pool)
    after = heap[NEXT, block]
    heap[SIZE, block], heap[NEXT, block] = size, rest
    heap[PREVIOUS, rest], heap[NEXT, rest] = block, after
    if after != NONE:
        heap[PREVIOUS, after] = rest
    return rest


@compiled
def _absorb(heap: Whole, block: int, after: int) -> None:
    """Two neighbours become one, under the number of the first."""
    heap[SIZE, block] += heap[SIZE, after]
    heap[NEXT, block] = heap[NEXT, after]
    if heap[NEXT, after] != NONE:
        heap[PREVIOUS, heap[NEXT, after]] = block
    _retire(heap, after)


@compiled
def set_free(heap: Whole, block: int) -> None:
    """A block that was not free becomes so, and one with its free neighbours."""
    pool = heap[POOL, block]
    before, after = heap[PREVIOUS, block], heap[NEXT, block]
    if before != NONE and heap[STATE, before] == FREE:
        if after != NONE and heap[STATE, after] == FREE:
            _drop_free(heap, after)
            _absorb(heap, block, after)
        _grow_free(heap, pool, before, before, block)
    elif after != NONE and heap[STATE, after] == FREE:
        _grow_free(heap, pool, after, block, after)
    else:
        _put_free(heap, block)


@compiled
def _grow_free(heap: Whole, pool: int, listed: int, block: int, after: int) -> None:
    """Two neighbours, of which one was listed as free, become one free block."""
    size = heap[SIZE, block] + heap[SIZE, after]
    place = _place(heap, pool, heap[SIZE, listed], heap[ADDRESS, listed])
    to = _place(heap, pool, size, heap[ADDRESS, block])
    _absorb(heap, block, after)
    _refile(heap, pool, place, to, block)


@compiled
def _set_unmapped(heap: Whole, block: int) -> None:
    """Unmapped, and one with unmapped neighbours."""
    before, after = heap[PREVIOUS, block], heap[NEXT, block]
    if before != NONE and heap[STATE, before] == UNMAPPED:
        _drop_unmapped(heap, before)
        _absorb(heap, before, block)
        block = before
    if after != NONE and heap[STATE, after] == UNMAPPED:
        _drop_unmapped(heap, after)
        _absorb(heap, block, after)
    _put_unmapped(heap, block)


@compiled
def _place(heap: Whole, pool: int, size: int, address: int) -> int:
    """How many free blocks of a pool come before this size and address."""
    low, count = 0, heap[COUNTS, pool]
    while count > 0:
        half = count >> 1
        block = heap[pool, low + half]
        listed = heap[SIZE, block]
        # Without branches: which way a search turns cannot be foreseen.
        comes_before = (listed < size) | ((listed == size) & (heap[ADDRESS, block] < address))
        low += (half + 1) * comes_before
        count = half + (count - 2 * half - 1) * comes_before
    return low


@compiled
def _refile(heap: Whole, pool: int, place: int, to: int, block: int) -> None:
    """A block takes the entry of one that is no longer listed, moved before the entry that stood at `to`."""
    # Unsigned places spare the compiler a look at whether they count from the end.
    if to > place:
        to -= 1
        for index in range(np.uint64(place), np.uint64(to)):
            heap[pool, index] = heap[pool, index + np.uint64(1)]
    else:
        for back in range(place - to):
            index = np.uint64(place - back)
            heap[pool, index] = heap[pool, index - np.uint64(1)]
    heap[pool, to] = block
    heap[STATE, block] = FREE


@compiled
def _put_free(heap: Whole, block: int) -> None:
    pool = heap[POOL, block]
    to = _place(heap, pool, heap[SIZE, block], heap[ADDRESS, block])
    heap[COUNTS, pool] += 1
    _refile(heap, pool, heap[COUNTS, pool] - 1, to, block)


@compiled
def _drop_free(heap: Whole, block: int) -> None:
    pool = heap[POOL, block]
    place = _place(heap, pool, heap[SIZE, block], heap[ADDRESS, block])
    _refile(heap, pool, place, heap[COUNTS, pool], block)
    heap[COUNTS, pool] -= 1
    heap[STATE, block] = TAKEN


@compiled
def _put_unmapped(heap: Whole, block: int) -> None:
    pool = heap[POOL, block]
    heap[UNMAPPED_SMALL + pool, heap[COUNTS, UNMAPPED_SMALL + pool]] = block
    heap[COUNTS, UNMAPPED_SMALL + pool] += 1
    heap[STATE, block] = UNMAPPED


@compiled
def _drop_unmapped(heap: Whole, block: int) -> None:
    pool = heap[POOL, block]
    heap[COUNTS, UNMAPPED_SMALL + pool] -= 1
    last = heap[COUNTS, UNMAPPED_SMALL + pool]
    for place in range(last):
        if heap[UNMAPPED_SMALL + pool, place] == block:
            heap[UNMAPPED_SMALL + pool, place] = heap[UNMAPPED_SMALL + pool, last]
    heap[STATE, block] = TAKEN


@compiled
def _page(heap: Whole, block: int) -> int:
    return SMALL_SEGMENT_BYTES if heap[POOL, block] == SMALL else LARGE_SEGMENT_BYTES


@compiled
def _rounded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
