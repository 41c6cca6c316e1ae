"""A simulated caching allocator: what torch reserves on a GPU for a list of allocations.

The rules are those of torch's CUDACachingAllocator with its default settings, at a card's end too.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management
Source: https://github.com/pytorch/pytorch/blob/v2.13.0/c10/cuda/CUDACachingAllocator.cpp, `malloc`
"""

import bisect
import dataclasses
import math
from typing import Self

from onegpu.machine import MIB

__all__ = ["CachingAllocator", "OutOfMemoryError"]

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
        before: The neighbor at lower addresses in the same segment.
        after: The neighbor at higher addresses.
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


def _round_up(n_bytes: int, step: int) -> int:
    return -(-n_bytes // step) * step


class OutOfMemoryError(MemoryError):
    """A new segment does not fit, not even after all cached segments were given back.

    Args:
        asked_bytes: Size of the segment.
        free_bytes: What of the card no segment takes.
    """

    def __init__(self, *, asked_bytes: int, free_bytes: int) -> None:
        super().__init__(f"{asked_bytes:,} bytes were asked for, and {free_bytes:,} are free")
        self.asked_bytes, self.free_bytes = asked_bytes, free_bytes


class CachingAllocator:
    """Takes and gives blocks as torch does on a GPU, and keeps count.

    Args:
        capacity: Bytes that segments may take: a card's memory without CUDA's context; None for
            no limit.

    Attributes:
        allocated: Bytes in blocks that are in use.
        reserved: Bytes in segments. Cached ones, which nothing uses, are given back by
            `empty_cache`, and where a new one does not fit.
        blocks: Those in use, by their keys.
    """

    allocated: int
    reserved: int
    blocks: dict[int, Block]

    def __init__(self, capacity: int | None = None) -> None:
        self.allocated = self.reserved = 0
        self.blocks = {}
        self._capacity = math.inf if capacity is None else capacity
        self._free: dict[bool, list[Block]] = {True: [], False: []}
        self._next_address = 1 << 47  # the driver hands out decreasing addresses

    def allocate(self, key: int, n_bytes: int) -> None:
        """Allocate a block: the smallest free one that is large enough.

        Args:
            key: What `free` will call it by.
            n_bytes: What is asked for; nothing happens for none.

        Raises:
            OutOfMemoryError: No free block is large enough, and a new segment does not fit.
        """
        if n_bytes <= 0:
            return
        size = _round_up(n_bytes, ROUND)
        is_small = size <= SMALL
        free = self._free[is_small]
        place = bisect.bisect_left(free, Block(-1, size, is_small))
        block = free.pop(place) if place < len(free) else self._new_segment(size, is_small)
        smallest_rest = ROUND if is_small else SMALL + ROUND
        if block.size - size >= smallest_rest:
            self._split(block, size)
        block.in_use = True
        self.blocks[key] = block
        self.allocated += block.size

    def _new_segment(self, size: int, is_small: bool) -> Block:
        if is_small:
            segment = SMALL_SEGMENT
        elif size < LARGE:
            segment = LARGE_SEGMENT
        else:
            segment = _round_up(size, ROUND_LARGE)
        if self.reserved + segment > self._capacity:
            self.empty_cache()
            if self.reserved + segment > self._capacity:
                free_bytes = int(self._capacity) - self.reserved
                raise OutOfMemoryError(asked_bytes=segment, free_bytes=free_bytes)
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
        """Free a block, and join it with free neighbors.

        Args:
            key: As `allocate` had it.
        """
        block = self.blocks.pop(key, None)
        if block is None:  # of no bytes
            return
        self.allocated -= block.size
        block.in_use = False
        free = self._free[block.is_small]
        for neighbor in (block.before, block.after):
            if neighbor is not None and not neighbor.in_use:
                free.pop(bisect.bisect_left(free, neighbor))
                self._join(block, neighbor)
        bisect.insort(free, block)

    @staticmethod
    def _join(block: Block, neighbor: Block) -> None:
        if neighbor is block.before:
            block.address, block.before = neighbor.address, neighbor.before
            if block.before:
                block.before.after = block
        else:
            block.after = neighbor.after
            if block.after:
                block.after.before = block
        block.size += neighbor.size

    def empty_cache(self) -> None:
        """Give back the segments that nothing uses."""
        for free in self._free.values():
            unused = [b for b in free if b.before is None and b.after is None]
            self.reserved -= sum(block.size for block in unused)
            free[:] = [b for b in free if b.before is not None or b.after is not None]
