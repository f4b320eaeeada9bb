"""The caching allocator as a plain list of blocks, looked through from end to end: slow, and short enough to be seen
to be right. The compiled one is held against it."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
ENDLESS = 1 << 50


class Full(Exception):
    """The device has no room, even after cached memory was given back."""


@dataclass
class Block:
    """state: "taken", "free" or "unmapped"."""

    address: int
    size: int
    small: bool
    state: str


class PlainAllocator:
    """segments: lists of blocks in order of address."""

    def __init__(self, capacity: int | None = None, *, expandable: bool = False) -> None:
        self.capacity = ENDLESS if capacity is None else capacity
        self.expandable = expandable
        self.lowest = 0
        self.peak_reserved = 0
        self.segments: list[list[Block]] = []
        if expandable:
            # Address space begins at a multiple of both page sizes.
            self.segments = [[Block(20 * place * ENDLESS, ENDLESS, place == 0, "unmapped")] for place in (0, 1)]

    @property
    def blocks(self) -> list[Block]:
        return [block for segment in self.segments for block in segment]

    @property
    def allocated(self) -> int:
        return sum(block.size for block in self.blocks if block.state == "taken")

    @property
    def reserved(self) -> int:
        return sum(block.size for block in self.blocks if block.state != "unmapped")

    def allocate(self, request: int) -> Block:
        size = max(512, -(-request // 512) * 512)
        small = size <= MIB
        block = self._best_fit(size, small) or self._room(size, small)
        if block is None:
            self.empty_cache()
            block = self._room(size, small)
        if block is None:
            raise Full
        block.state = "taken"
        if block.size - size >= (512 if small or self.expandable else MIB + 1):
            self._cut(block, size, "free")
        return block

    def release(self, block: Block) -> None:
        block.state = "free"
        self._merge()

    def empty_cache(self) -> None:
        if not self.expandable:
            self.segments = [s for s in self.segments if len(s) > 1 or s[0].state != "free"]
            return
        for block in self.blocks:
            page = (2 if block.small else 20) * MIB
            begin, end = -(-block.address // page) * page, (block.address + block.size) // page * page
            if block.state == "free" and begin < end:
                if block.address < begin:
                    block = self._cut(block, begin - block.address, "free")
                if end < block.address + block.size:
                    self._cut(block, end - block.address, "free")
                block.state = "unmapped"
        self._merge()

    def _best_fit(self, size: int, small: bool) -> Block | None:
        fitting = [b for b in self.blocks if b.state == "free" and b.small == small and b.size >= size]
        fitting.sort(key=lambda block: (block.size, block.address))
        while len(fitting) > 1 and self._reach(fitting[1]) < self._reach(fitting[0]):
            del fitting[0]
        return fitting[0] if fitting else None

    def _reach(self, block: Block) -> int:
        after = self._after(block)
        return block.size + (after.size if after and after.state == "unmapped" else 0)

    def _room(self, size: int, small: bool) -> Block | None:
        return self._grow(size, small) if self.expandable else self._segment(size, small)

    def _segment(self, size: int, small: bool) -> Block | None:
        segment = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
        if self.reserved + segment > self.capacity:
            return None
        self.lowest -= segment
        self.segments.append([Block(self.lowest, segment, small, "free")])
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return self.segments[-1][0]

    def _grow(self, size: int, small: bool) -> Block | None:
        segment = self.segments[0 if small else 1]
        for place in range(len(segment)):
            run = []
            for block in segment[place:]:
                if block.state == "taken":
                    break
                run.append(block)
            begins = segment[place].state == "unmapped" or (len(run) > 1 and run[0].state == "free")
            if begins and sum(block.size for block in run) >= size:
                return self._map(run[0], size)
        raise AssertionError("address space is endless")

    def _map(self, first: Block, size: int) -> Block | None:
        """Behind what is missing of a run of free and unmapped blocks, a page at a time."""
        page = (2 if first.small else 20) * MIB
        while first.state == "unmapped" or first.size < size:
            gap = first if first.state == "unmapped" else self._after(first)
            assert gap is not None
            missing = size if gap is first else size - first.size
            mapped = min(-(-missing // page) * page, gap.size)
            if self.reserved + mapped > self.capacity:
                return None
            if mapped < gap.size:
                self._cut(gap, mapped, "unmapped")
            gap.state = "free"
            self.peak_reserved = max(self.peak_reserved, self.reserved)
            self._merge()
        return first

    def _cut(self, block: Block, size: int, state: str) -> Block:
        segment = next(s for s in self.segments if any(b is block for b in s))
        rest = Block(block.address + size, block.size - size, block.small, state)
        segment.insert(next(i for i, b in enumerate(segment) if b is block) + 1, rest)
        block.size = size
        return rest

    def _after(self, block: Block) -> Block | None:
        segment = next(s for s in self.segments if any(b is block for b in s))
        place = next(i for i, b in enumerate(segment) if b is block)
        return segment[place + 1] if place + 1 < len(segment) else None

    def _merge(self) -> None:
        """Neighbours that are both free, or both unmapped, become one."""
        for segment in self.segments:
            place = 0
            while place + 1 < len(segment):
                one, other = segment[place], segment[place + 1]
                if one.state == other.state != "taken":
                    one.size += other.size
                    del segment[place + 1]
                else:
                    place += 1
