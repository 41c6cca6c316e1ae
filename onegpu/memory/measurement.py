"""What a step really takes, in the phases of a plan: on a CUDA GPU, and on a CPU."""

import bisect
import contextlib
import dataclasses
import gc
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from onegpu.machine import MIB
from onegpu.memory.replay import Phase

if TYPE_CHECKING:
    import torch

__all__ = ["Measurement", "measure"]

MARK = "phase: "  # before a phase's name, in what the profiler records
TABLES = MIB  # bytes; what libraries keep on the GPU is less, bitsandbytes' code books for one


@dataclasses.dataclass
class Measurement:
    """The peaks of what ran inside `measure`.

    Attributes:
        device: `cuda` or `cpu`.
        phases: The peaks of each phase, in the order in which they first began.
        seconds: What each phase took, all its times together. On a CPU the recording is in it.
        process_bytes: What the process held of the card at the end; 0 on a CPU.
    """

    device: str
    phases: tuple[Phase, ...] = ()
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    process_bytes: int = 0

    @property
    def allocated_bytes(self) -> int:
        """Peak of what tensors take."""
        return max(phase.allocated_bytes for phase in self.phases)

    @property
    def reserved_bytes(self) -> int:
        """Peak of what torch holds for them. A CPU's allocator holds nothing back."""
        return max(phase.reserved_bytes for phase in self.phases)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what runs inside as a phase; the same name again continues it.

        Args:
            name: `load`, `forward`, `backward` or `optimizer`, as in a plan, or any other.
        """
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        with torch.profiler.record_function(MARK + name):
            yield
        if self.device == "cuda":
            torch.cuda.synchronize()
            self._note(name, torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def _note(self, name: str, allocated: int, reserved: int) -> None:
        phases = {phase.name: phase for phase in self.phases}
        phases[name] = phases.get(name, Phase(name, 0, 0)).with_peaks(
            allocated_bytes=allocated, reserved_bytes=reserved
        )
        self.phases = tuple(phases.values())


@contextlib.contextmanager
def measure(device: str = "cuda") -> Iterator[Measurement]:
    """Measure the memory of what runs inside, phase by phase.

    Begin it before the model is loaded. On a CUDA GPU the figures are those of torch's allocator,
    which is emptied first; on a CPU, which keeps none, every allocation is recorded by torch's
    profiler and added up.

    Args:
        device: `"cuda"` or `"cpu"`.

    Yields:
        The measurement; run each part of the work in `with measured.phase("forward"):`. Its
        figures are there after the block.

    Raises:
        ValueError: The device is another one, is not there, or the GPU is not empty.

    Example:
        >>> import torch
        >>> with measure("cpu") as measured:
        ...     with measured.phase("load"):
        ...         weight = torch.empty(1000, 1000)
        >>> measured.allocated_bytes
        4000000
    """
    import torch

    if device not in ("cuda", "cpu"):
        raise ValueError(f"device is {device!r}: choose 'cuda' or 'cpu'")
    measured = Measurement(device)
    if device == "cpu":
        recording = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
        )
        with _without_native_messages(), recording:
            yield measured
        _read(recording, measured)
        return
    if not torch.cuda.is_available():
        raise ValueError("torch sees no CUDA GPU: choose device='cpu', or memory.plan() for a card")
    _empty_gpu()
    if torch.cuda.memory_allocated() > TABLES:
        raise ValueError(
            f"{torch.cuda.memory_allocated():,} bytes are on the GPU already: measure in a fresh "
            "process, from before the model is loaded"
        )
    yield measured
    free, total = torch.cuda.mem_get_info()
    measured.process_bytes = total - free  # of all processes: the card must be ours alone


def _empty_gpu() -> None:
    """Give back what nobody uses: the workspaces of cuBLAS, dead objects, torch's cached blocks."""
    import torch

    torch._C._cuda_clearCublasWorkspaces()  # torch keeps one for each thread, and counts them
    if torch.cuda.memory_allocated() > TABLES:
        gc.collect()
    torch.cuda.empty_cache()


def _read(recording: "torch.profiler.profile", measured: Measurement) -> None:
    """Add up the allocations that a profiler recorded."""
    import torch

    changes: list[tuple[int, int, int]] = []  # time, address, bytes
    spans: list[tuple[int, int, str]] = []  # begin, end, name
    events = list(recording.profiler.kineto_results.experimental_event_tree())
    while events:
        event = events.pop()
        events += event.children
        if event.typed[0] == torch._C._profiler._EventType.Allocation:
            changes.append((event.start_time_ns, event.typed[1].ptr, event.typed[1].alloc_size))
        elif event.name.startswith(MARK):
            spans.append((event.start_time_ns, event.end_time_ns, event.name.removeprefix(MARK)))
    allocated, history, live = 0, [(0, 0)], set()
    for at, address, n_bytes in sorted(changes, key=lambda change: change[0]):
        if n_bytes > 0:
            live.add(address)
        elif address in live:
            live.remove(address)
        else:
            continue  # it was there before
        allocated += n_bytes
        history.append((at, allocated))
    times = [at for at, _ in history]
    for begin, end, name in sorted(spans):
        first, last = bisect.bisect_right(times, begin) - 1, bisect.bisect_right(times, end)
        peak = max(n for _, n in history[first:last])
        measured._note(name, peak, peak)


@contextlib.contextmanager
def _without_native_messages() -> Iterator[None]:
    """Hide what native code writes to standard error: the profiler's notes about itself."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
