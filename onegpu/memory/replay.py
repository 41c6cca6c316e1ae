"""What a list of allocations comes to: its peaks on a card, and its course."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from onegpu.memory.allocator import CachingAllocator, OutOfMemoryError

if TYPE_CHECKING:
    from onegpu.memory.tracing.tracer import Event

__all__ = ["KINDS", "Moment", "Peaks", "Phase", "peaks_of", "timeline_of"]

# What memory is for.
KINDS = (
    "weights",
    "adapters",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "temporaries",
)


@dataclasses.dataclass(frozen=True)
class Phase:
    """The peaks of one phase of training.

    Attributes:
        name: `load`, `forward`, `backward` or `optimizer`.
        allocated_bytes: What tensors take.
        reserved_bytes: What torch holds for them.
    """

    name: str
    allocated_bytes: int
    reserved_bytes: int

    def with_peaks(self, *, allocated_bytes: int, reserved_bytes: int) -> "Phase":
        """Return the phase with peaks that are at least as high as these."""
        return Phase(
            self.name,
            max(self.allocated_bytes, allocated_bytes),
            max(self.reserved_bytes, reserved_bytes),
        )


@dataclasses.dataclass(frozen=True)
class Moment:
    """Memory after one allocation.

    Attributes:
        phase: As in `Phase`.
        step: The training step; 0 while loading.
        parts: Bytes of each of `KINDS`.
    """

    phase: str
    step: int
    parts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Failure:
    """Where a card's memory ran out.

    Attributes:
        phase: As in `Phase`.
        operation: What asked for more.
        module: The module in which that was.
        asked_bytes: The segment that torch asked the card for.
        free_bytes: What was left of the card.
    """

    phase: str
    operation: str
    module: str
    asked_bytes: int
    free_bytes: int


@dataclasses.dataclass(frozen=True)
class Peaks:
    """What was highest.

    Attributes:
        phases: The peaks of each phase.
        parts: Bytes of each of `KINDS` at the highest peak.
        operation: What allocated last before it.
        module: The module in which that was.
        failure: Where memory ran out; None if it did not.
    """

    phases: tuple[Phase, ...]
    parts: dict[str, int]
    operation: str
    module: str
    failure: Failure | None


def peaks_of(events: "Iterable[Event]", capacity: int | None = None) -> Peaks:
    """Return the peaks of each phase, and what there was at the highest one.

    Args:
        events: Of a `Tracer`, in order.
        capacity: Bytes that torch's allocator may take; None for no limit.

    Returns:
        The peaks of tensors, and those of torch's allocator, which is simulated. Where memory runs
        out, they are those until then.
    """
    allocator = CachingAllocator(capacity)
    highest_in: dict[str, list[int]] = {}  # of each phase, allocated and reserved
    live: dict[int, Event] = {}
    parts = dict.fromkeys(KINDS, 0)
    highest, parts_at_peak, operation, module = 0, dict(parts), "", ""
    phase, peaks, failure = "", [0, 0], None
    for event in events:
        if event.action == "phase":
            phase = event.operation
            peaks = highest_in.setdefault(phase, [0, 0])
        elif event.action == "empty_cache":
            allocator.empty_cache()
        elif event.action == "free":
            allocator.free(event.key)
            freed = live.pop(event.key)
            parts[freed.kind] -= freed.n_bytes
            continue
        else:
            try:
                allocator.allocate(event.key, event.n_bytes)
            except OutOfMemoryError as error:
                place = phase, event.operation, event.module
                failure = Failure(*place, error.asked_bytes, error.free_bytes)
                break
            live[event.key] = event
            parts[event.kind] += event.n_bytes
            if allocator.allocated > highest:
                highest, parts_at_peak = allocator.allocated, dict(parts)
                operation, module = event.operation, event.module
        peaks[0] = max(peaks[0], allocator.allocated)
        peaks[1] = max(peaks[1], allocator.reserved)
    phases = tuple(Phase(name, *found) for name, found in highest_in.items())
    return Peaks(phases, parts_at_peak, operation, module, failure)


def timeline_of(events: "Iterable[Event]") -> list[Moment]:
    """Return memory after each allocation.

    Args:
        events: Of a `Tracer`, in order.

    Returns:
        The moments, loading and all steps long.
    """
    live: dict[int, Event] = {}
    moments, parts = [], dict.fromkeys(KINDS, 0)
    phase, step = "load", 0
    for event in events:
        if event.action == "phase":
            phase = event.operation
            if phase == "forward":
                step += 1
        elif event.action == "allocate":
            live[event.key] = event
            parts[event.kind] += event.n_bytes
            moments.append(Moment(phase, step, dict(parts)))
        elif event.action == "free":
            freed = live.pop(event.key)
            parts[freed.kind] -= freed.n_bytes
    return moments
