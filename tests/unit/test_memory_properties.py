"""The allocator against a model of it on any sequence of requests, the search on any margin."""

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from onegpu.memory.allocator import CachingAllocator, OutOfMemoryError
from onegpu.memory.search import largest

MIB = 1024**2
SIZES = st.one_of(
    st.sampled_from([1, 512, 513, MIB - 512, MIB, MIB + 1, 10 * MIB - 512, 10 * MIB, 20 * MIB]),
    st.integers(1, 40).map(lambda n: n * MIB // 2),
    st.integers(1, 8).map(lambda n: n * 256 * 1024),
    st.integers(0, 25 * MIB),
)


class Segments:
    """An allocator that is slow and plain: intervals in use, and whatever lies between them."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.sizes, self.pools, self.used = [], [], []

    def gaps(self):
        """Yield size, number of the segment, begin and pool of each free piece."""
        for number, size in enumerate(self.sizes):
            begin = 0
            for taken, end in [*sorted(self.used[number].values()), (size, size)]:
                if taken > begin:
                    yield taken - begin, number, begin, self.pools[number]
                begin = end

    def allocate(self, key, n_bytes):
        """Take the smallest gap that fits; return whether there is one, or room for one."""
        if n_bytes == 0:
            return True
        size = (n_bytes + 511) // 512 * 512
        pool = "small" if size <= MIB else "large"
        # of two gaps of one size the lower address; later segments lie below earlier ones
        fitting = [(g, -n, begin) for g, n, begin, p in self.gaps() if p == pool and g >= size]
        if fitting:
            gap, number, begin = min(fitting)
            number = -number
        else:
            gap, number, begin = self._segment_for(size, pool), len(self.sizes), 0
            if not self._has_room_for(gap):
                return False
            self.sizes.append(gap)
            self.pools.append(pool)
            self.used.append({})
        least_left_over = {"small": 512, "large": MIB + 1}[pool]
        if gap - size < least_left_over:
            size = gap
        self.used[number][key] = begin, begin + size
        return True

    @staticmethod
    def _segment_for(size, pool):
        if pool == "small":
            return 2 * MIB
        if size < 10 * MIB:
            return 20 * MIB
        return (size + 2 * MIB - 1) // (2 * MIB) * 2 * MIB

    def _has_room_for(self, segment):
        if sum(self.sizes) + segment <= self.capacity:
            return True
        self.empty_cache()
        return sum(self.sizes) + segment <= self.capacity

    def free(self, key):
        """Return the size of the gap that there is now, and its pool."""
        for number, used in enumerate(self.used):
            if key in used:
                begin, _ = used.pop(key)
                gaps = [gap for gap in self.gaps() if gap[1] == number and gap[2] <= begin]
                return gaps[-1][0], self.pools[number]
        return 0, "small"  # nothing was asked for

    def empty_cache(self):
        """Drop the segments without an interval; a size of 0 keeps their numbers."""
        for number, used in enumerate(self.used):
            if not used:
                self.sizes[number] = 0

    @property
    def allocated(self):
        """Bytes in use."""
        return sum(end - begin for used in self.used for begin, end in used.values())


class AllocatorMachine(RuleBasedStateMachine):
    """Any requests, in any order."""

    def __init__(self):
        super().__init__()
        self.keys, self.n = [], 0

    @initialize(capacity=st.none() | st.integers(0, 100 * MIB))
    def take_a_card(self, capacity):
        """One without an end too."""
        self.allocator = CachingAllocator(capacity)
        self.model = Segments(math.inf if capacity is None else capacity)

    def allocate_under_a_new_key(self, n_bytes):
        """Ask both; the next requests come whether there is room or not."""
        try:
            self.allocator.allocate(self.n, n_bytes)
            is_there = True
        except OutOfMemoryError as error:
            is_there = False
            assert error.free_bytes < error.asked_bytes
        assert self.model.allocate(self.n, n_bytes) == is_there
        if is_there:
            self.keys.append(self.n)
        self.n += 1

    def free_one(self, data):
        """Free one in both; return the gap that there is now, and its pool."""
        key = self.keys.pop(data.draw(st.integers(0, len(self.keys) - 1)))
        self.allocator.free(key)
        return self.model.free(key)

    @rule(n_bytes=SIZES)
    def allocate(self, n_bytes):
        """A request of any size, none too."""
        self.allocate_under_a_new_key(n_bytes)

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def free(self, data):
        """Any of what was asked for."""
        self.free_one(data)

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def take_what_was_freed_in_one_piece(self, data):
        """A block and its free neighbors hold one request of their joined size."""
        joined, pool = self.free_one(data)
        if pool == "small" and joined > MIB:
            return  # a request of that size would go to the other pool
        before = self.allocator.reserved
        self.allocate_under_a_new_key(joined)
        assert self.allocator.reserved == before

    @rule()
    def empty_cache(self):
        """As `prepare_model_for_kbit_training` does."""
        self.allocator.empty_cache()
        self.model.empty_cache()

    @invariant()
    def counts_are_those_of_the_model(self):
        """As they are in the model, segments that were given back among them."""
        assert self.allocator.allocated == self.model.allocated
        assert self.allocator.reserved == sum(self.model.sizes)
        assert self.allocator.allocated <= self.allocator.reserved <= self.model.capacity

    @invariant()
    def blocks_in_use_do_not_overlap(self):
        """By their addresses."""
        blocks = sorted(self.allocator.blocks.values(), key=lambda block: block.address)
        assert sum(block.size for block in blocks) == self.allocator.allocated
        for lower, higher in itertools.pairwise(blocks):
            assert lower.address + lower.size <= higher.address

    def teardown(self):
        """Nothing is left when all has been given back."""
        for key in self.keys:
            self.allocator.free(key)
        assert self.allocator.allocated == 0
        self.allocator.empty_cache()
        assert self.allocator.reserved == 0


TestAllocator = AllocatorMachine.TestCase
TestAllocator.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    falls=st.lists(st.integers(0, 50) | st.integers(0, 3000), min_size=1, max_size=100),
    start=st.integers(-10, 5000),
    limit=st.none() | st.integers(0, 60),
)
def test_largest_is_what_trying_all_numbers_finds(falls, start, limit):
    """Any margin that never grows: flat, steep, straight or in steps."""
    margins = [start]
    for fall in falls:
        margins.append(margins[-1] - fall)

    def margin(n):
        assert n >= 1
        assert limit is None or n <= limit
        return margins[n - 1] if n <= len(margins) else margins[-1] - 10_000 * (n - len(margins))

    highest = 1000 if limit is None else limit
    expected = max((n for n in range(1, highest + 1) if margin(n) >= 0), default=0)
    assert largest(margin, limit=limit) == expected


@settings(max_examples=100, derandomize=True, deadline=None)
@given(start=st.integers(0, 10**9), fall=st.integers(1, 10**6))
def test_largest_makes_few_plans_of_a_straight_line(start, fall):
    """Each plan takes seconds, and memory is nearly straight: four must do."""
    asked = []

    def margin(n):
        asked.append(n)
        assert len(asked) <= 4
        return start - fall * n

    assert largest(margin) == start // fall
