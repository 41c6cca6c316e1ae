"""The simulated allocator and what is replayed in it, by hand."""

import pytest

from onegpu.memory.allocator import CachingAllocator, OutOfMemoryError
from onegpu.memory.replay import Failure, peaks_of
from onegpu.memory.tracing.tracer import Event

MIB = 1024**2


def test_small_blocks_share_a_segment():
    """1 byte takes 512; up to 1 MiB comes from segments of 2 MiB."""
    allocator = CachingAllocator()
    allocator.allocate(0, 1)
    assert (allocator.allocated, allocator.reserved) == (512, 2 * MIB)
    allocator.allocate(1, MIB)
    assert (allocator.allocated, allocator.reserved) == (512 + MIB, 2 * MIB)
    allocator.allocate(2, MIB)
    assert allocator.reserved == 4 * MIB, "the rest of the first segment is too small"


def test_large_blocks():
    """Below 10 MiB from segments of 20 MiB; above, a segment of its own, in steps of 2 MiB."""
    allocator = CachingAllocator()
    allocator.allocate(0, 2 * MIB)
    assert allocator.reserved == 20 * MIB
    allocator.allocate(1, 11 * MIB)
    assert allocator.reserved == 20 * MIB, "what is left of the segment holds it"
    allocator.allocate(2, 11 * MIB)
    assert allocator.reserved == 32 * MIB
    assert allocator.allocated == 2 * MIB + 11 * MIB + 12 * MIB, "a rest of 1 MiB is not split off"


def test_freed_neighbors_are_joined():
    allocator = CachingAllocator()
    for key in range(3):
        allocator.allocate(key, 6 * MIB)
    allocator.free(0)
    allocator.free(1)  # 12 MiB in one piece now
    allocator.allocate(3, 12 * MIB)
    assert allocator.reserved == 20 * MIB
    allocator.free(2)
    allocator.free(3)
    assert allocator.allocated == 0
    allocator.empty_cache()
    assert allocator.reserved == 0


def test_the_smallest_free_block_is_taken():
    allocator = CachingAllocator()
    for key, n_mib in enumerate((30, 12, 20)):
        allocator.allocate(key, n_mib * MIB)
    for key in range(3):
        allocator.free(key)
    allocator.allocate(3, 12 * MIB)
    allocator.allocate(4, 30 * MIB)
    assert allocator.reserved == 62 * MIB


def test_cached_segments_of_both_pools_make_room_for_a_new_one():
    """32 MiB are cached and 8 are left: 40 are there for one who asks for them, and not for 42."""
    for n_mib in (40, 42):
        allocator = CachingAllocator(40 * MIB)
        allocator.allocate(0, 30 * MIB)
        allocator.allocate(1, MIB)
        allocator.free(0)
        allocator.free(1)
        assert allocator.reserved == 32 * MIB
        if n_mib == 40:
            allocator.allocate(2, n_mib * MIB)
            assert allocator.reserved == 40 * MIB
        else:
            with pytest.raises(OutOfMemoryError, match=r"44,040,192 bytes .* 41,943,040 are free"):
                allocator.allocate(2, n_mib * MIB)


def test_a_segment_that_is_in_use_in_part_is_not_given_back():
    """2 MiB of 20 hold the other 18, so 19 of 39 are free: too few for another 20."""
    allocator = CachingAllocator(39 * MIB)
    allocator.allocate(0, 2 * MIB)
    with pytest.raises(OutOfMemoryError) as caught:
        allocator.allocate(1, 20 * MIB)
    assert (caught.value.asked_bytes, caught.value.free_bytes) == (20 * MIB, 19 * MIB)
    allocator.allocate(2, 18 * MIB)
    assert (allocator.allocated, allocator.reserved) == (20 * MIB, 20 * MIB)


def test_a_card_is_asked_for_a_segment_and_not_for_a_block():
    """3 MiB and 5 are 8 of a segment of 20, which a card of 19 does not have."""
    with pytest.raises(OutOfMemoryError, match=r"20,971,520 bytes .* 19,922,944 are free"):
        CachingAllocator(19 * MIB).allocate(0, 3 * MIB)


def story(*steps):
    """Return events from phases, and from keys with the MiB that they take (none: freed)."""
    events = []
    for name, key, n_mib in steps:
        if key is None:
            events.append(Event("phase", operation=name))
        elif n_mib is None:
            events.append(Event("free", key))
        else:
            events.append(Event("allocate", key, n_mib * MIB, name, f"layer {key}", "activations"))
    return events


EVENTS = story(
    ("load", None, None),
    ("copy", 0, 50),
    ("copy", 1, 30),
    ("", 1, None),
    ("forward", None, None),
    ("mm", 2, 40),
    ("mm", 3, 12),
)


@pytest.mark.parametrize(
    ("capacity", "reserved", "failure"),
    [
        (None, {"load": 80, "forward": 120}, None),
        (120, {"load": 80, "forward": 120}, None),
        (119, {"load": 80, "forward": 102}, None),
        (102, {"load": 80, "forward": 102}, None),
        (101, {"load": 80, "forward": 90}, ("forward", "mm", "layer 3", 12, 11)),
        (79, {"load": 50}, ("load", "copy", "layer 1", 30, 29)),
    ],
)
def test_a_replay_says_where_memory_ends(capacity, reserved, failure):
    """50 MiB stay, 30 are cached, and 40 and 12 come: room for 12 is in the 30, if those are left.

    With 120 MiB all segments are kept. With less the 30 are given back for the 40.
    """
    found = peaks_of(EVENTS, None if capacity is None else capacity * MIB)
    assert {phase.name: phase.reserved_bytes / MIB for phase in found.phases} == reserved
    if failure is None:
        assert found.failure is None
        assert max(phase.allocated_bytes for phase in found.phases) == 102 * MIB
    else:
        *place, asked, free = failure
        assert found.failure == Failure(*place, asked * MIB, free * MIB)
