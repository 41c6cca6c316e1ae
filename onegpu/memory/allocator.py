"""A simulated caching allocator: what torch reserves on a GPU for a list of allocations.

The rules are those of torch's CUDACachingAllocator with its default settings.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management
"""

import bisect
import dataclasses
from typing import Self

from onegpu.machine import MIB

__all__ = ["CachingAllocator"]

ROUND = 512  # every block is a multiple of it
SMALL = MIB  # blocks up to it come from segments of SMALL_SEGMENT
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB  # for blocks below LARGE
LARGE = 10 * MIB
ROUND_LARGE = 2 * MIB  # larger ones have a segment of their own, a multiple of it


@dataclasses.dataclass(eq=False)
class Block:
    """A piece of a segment, in use or free.

    Attributes:
        address: Where it begins.
        size: In bytes.
        is_small: Whether its segment is one for small blocks.
        before: The neighbour at lower addresses in the same segment.
        after: The neighbour at higher addresses.
        in_use: Whether it is allocated.
    """

    address: int
    size: int
    is_small: bool
    before: Self | None = None
    after: Self | None = None
    in_use: bool = False

    def __lt__(self, other: Self) -> bool:
        return (self.size, self.address) < (other.size, other.address)


class CachingAllocator:
    """Takes and gives blocks as torch does on a GPU, and keeps count.

    Attributes:
        allocated: Bytes in blocks that are in use.
        reserved: Bytes in segments, which only `empty_cache` gives back.
    """

    def __init__(self) -> None:
        self.allocated = self.reserved = 0
        self._free: dict[bool, list[Block]] = {True: [], False: []}
        self._used: dict[int, Block] = {}
        self._next_address = 1 << 47  # the driver hands out decreasing addresses

    def allocate(self, key: int, n_bytes: int) -> None:
        """Allocate a block under a key: the smallest free one that is large enough."""
        if n_bytes <= 0:
            return
        size = -(-n_bytes // ROUND) * ROUND
        is_small = size <= SMALL
        free = self._free[is_small]
        place = bisect.bisect_left(free, Block(-1, size, is_small))
        block = free.pop(place) if place < len(free) else self._segment(size, is_small)
        rest = block.size - size
        if rest >= ROUND if is_small else rest > SMALL:
            self._split(block, size)
        block.in_use = True
        self._used[key] = block
        self.allocated += block.size

    def _segment(self, size: int, is_small: bool) -> Block:
        if is_small:
            segment = SMALL_SEGMENT
        else:
            segment = LARGE_SEGMENT if size < LARGE else -(-size // ROUND_LARGE) * ROUND_LARGE
        self._next_address -= segment + SMALL_SEGMENT  # the gap keeps segments from touching
        self.reserved += segment
        return Block(self._next_address, segment, is_small)

    def _split(self, block: Block, size: int) -> None:
        rest = Block(block.address + size, block.size - size, block.is_small, block, block.after)
        if block.after:
            block.after.before = rest
        block.after, block.size = rest, size
        bisect.insort(self._free[block.is_small], rest)

    def free(self, key: int) -> None:
        """Free the block of a key, and join it with free neighbours."""
        block = self._used.pop(key, None)
        if block is None:  # of no bytes
            return
        self.allocated -= block.size
        block.in_use = False
        free = self._free[block.is_small]
        for neighbour in (block.before, block.after):
            if neighbour is not None and not neighbour.in_use:
                free.pop(bisect.bisect_left(free, neighbour))
                self._join(block, neighbour)
        bisect.insort(free, block)

    @staticmethod
    def _join(block: Block, neighbour: Block) -> None:
        if neighbour is block.before:
            block.address, block.before = neighbour.address, neighbour.before
            if block.before:
                block.before.after = block
        else:
            block.after = neighbour.after
            if block.after:
                block.after.before = block
        block.size += neighbour.size

    def empty_cache(self) -> None:
        """Give back the segments that nothing uses."""
        for free in self._free.values():
            unused = [b for b in free if b.before is None and b.after is None]
            self.reserved -= sum(block.size for block in unused)
            free[:] = [b for b in free if b.before is not None or b.after is not None]
