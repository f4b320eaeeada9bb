"""PyTorch's CUDA caching allocator, replayed over births and deaths.

Facts from c10/cuda/CUDACachingAllocator (torch 2.13): sizes are rounded up to 512 bytes; requests up to 1 MiB are
cut from 2 MiB segments, larger ones below 10 MiB from 20 MiB segments, the rest from segments rounded up to 2 MiB;
the best fitting free block is taken, and split only when the remainder is at least 512 bytes (small pool) or more
than 1 MiB (large pool); free neighbours merge. When the device is full, segments that are wholly free are given back
and the request is tried once more.
"""

from __future__ import annotations

from bisect import bisect_left, insort

KIB = 1024
MIB = 1024 * KIB
SMALLEST_BLOCK_BYTES = 512
SMALL_REQUEST_BYTES = 1 * MIB
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
OWN_SEGMENT_FROM_BYTES = 10 * MIB
SEGMENT_ROUNDING_BYTES = 2 * MIB

# Free blocks are ordered by size, then address, so it matters where segments lie: the driver hands out large ones at
# falling addresses (seen in measured runs, whose reserved bytes no other order gives).
_HIGHEST_ADDRESS = 1 << 80
_SEGMENT_STRIDE = 1 << 44


class OutOfMemory(Exception):
    """The request does not fit on the device, even after cached segments were given back."""


class Block:
    """A piece of a segment. previous, next: its neighbours in the segment."""

    __slots__ = ("address", "free", "next", "pool", "previous", "size")

    def __init__(self, size: int, address: int, pool: Pool) -> None:
        self.size = size
        self.address = address
        self.pool = pool
        self.previous: Block | None = None
        self.next: Block | None = None
        self.free = False


class Pool:
    """Free blocks of one kind, smallest first, ties by address."""

    __slots__ = ("blocks", "by_address", "smallest_remainder")

    def __init__(self, smallest_remainder: int) -> None:
        self.blocks: list[tuple[int, int]] = []
        self.by_address: dict[int, Block] = {}
        self.smallest_remainder = smallest_remainder

    def add(self, block: Block) -> None:
        block.free = True
        insort(self.blocks, (block.size, block.address))
        self.by_address[block.address] = block

    def remove(self, block: Block) -> None:
        block.free = False
        del self.blocks[bisect_left(self.blocks, (block.size, block.address))]
        del self.by_address[block.address]

    def best_fit(self, size: int) -> Block | None:
        position = bisect_left(self.blocks, (size, 0))
        if position == len(self.blocks):
            return None
        _, address = self.blocks.pop(position)
        block = self.by_address.pop(address)
        block.free = False
        return block


class CachingAllocator:
    """allocated_bytes counts whole blocks, as `torch.cuda.memory_allocated` does; reserved_bytes counts segments.

    capacity_bytes: what the device has left for segments; None for a device that is never full.
    """

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.allocated_bytes = 0
        self.reserved_bytes = 0
        self.peak_reserved_bytes = 0
        self._capacity = capacity_bytes
        self._small = Pool(SMALLEST_BLOCK_BYTES)
        self._large = Pool(SMALL_REQUEST_BYTES + 1)
        self._segments = 0

    def allocate(self, request_bytes: int) -> Block:
        """A block of at least the request. Raises OutOfMemory when the device is full."""
        size = rounded_size(request_bytes)
        pool = self._small if size <= SMALL_REQUEST_BYTES else self._large
        block = pool.best_fit(size) or self._new_segment(size, pool)
        if block.size - size >= pool.smallest_remainder:
            self._split(block, size)
        self.allocated_bytes += block.size
        return block

    def release(self, block: Block) -> None:
        """Give a block back to its pool, merged with free neighbours."""
        self.allocated_bytes -= block.size
        pool = block.pool
        before, after = block.previous, block.next
        if before is not None and before.free:
            pool.remove(before)
            before.size += block.size
            before.next = after
            if after is not None:
                after.previous = before
            block = before
        if after is not None and after.free:
            pool.remove(after)
            block.size += after.size
            block.next = after.next
            if after.next is not None:
                after.next.previous = block
        pool.add(block)

    def empty_cache(self) -> None:
        """Give every wholly free segment back to the device."""
        for pool in (self._small, self._large):
            whole = [block for block in pool.by_address.values() if block.previous is None and block.next is None]
            for block in whole:
                pool.remove(block)
                self.reserved_bytes -= block.size

    def _new_segment(self, size: int, pool: Pool) -> Block:
        segment = segment_size(size)
        if self._capacity is not None and self.reserved_bytes + segment > self._capacity:
            self.empty_cache()
            if self.reserved_bytes + segment > self._capacity:
                raise OutOfMemory
        self._segments += 1
        self.reserved_bytes += segment
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        return Block(segment, _HIGHEST_ADDRESS - self._segments * _SEGMENT_STRIDE, pool)

    def _split(self, block: Block, size: int) -> None:
        rest = Block(block.size - size, block.address + size, block.pool)
        rest.previous, rest.next = block, block.next
        if block.next is not None:
            block.next.previous = rest
        block.next = rest
        block.size = size
        block.pool.add(rest)


def rounded_size(request_bytes: int) -> int:
    """Bytes of the block that a request asks for."""
    return max(SMALLEST_BLOCK_BYTES, -(-request_bytes // SMALLEST_BLOCK_BYTES) * SMALLEST_BLOCK_BYTES)


def segment_size(size: int) -> int:
    """Bytes of the segment that is taken from the device when no free block fits."""
    if size <= SMALL_REQUEST_BYTES:
        return SMALL_SEGMENT_BYTES
    if size < OWN_SEGMENT_FROM_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-size // SEGMENT_ROUNDING_BYTES) * SEGMENT_ROUNDING_BYTES
