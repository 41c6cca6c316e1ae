"""What `benchmarks/gpu.py` measures: a module for each part.

Every part has two functions. `rows(job)` lists the settings to be measured, as JSON has them, what
matters most first. `measure(job, **row)` measures one and returns its figures, as JSON has them; it
raises what goes wrong. A row that says `"capped": True` runs with the memory of a small card.
"""

import dataclasses
from pathlib import Path

__all__ = ["PARTS", "WITH_THE_SMALL_MODEL", "Job"]

# In the order in which they run.
PARTS = ("memory", "attention", "speed", "quantization", "determinism", "notebooks")
WITH_THE_SMALL_MODEL = ("quantization", "determinism", "notebooks")  # the others take no weights


@dataclasses.dataclass(frozen=True)
class Job:
    """What all parts are told.

    Attributes:
        device: `"cuda"`, or `"cpu"` in a rehearsal.
        rehearse: Whether every size is tiny, to find mistakes before a card is rented.
        memory_gib: What the rows that say `capped` may take of the card, in GiB.
        model: Folder of the small model, for the parts that need real weights; None without.
        scratch: A folder for what a part writes; it is deleted afterwards.
        unsloth: Folder in which Unsloth and its own versions are installed; None without.
    """

    device: str
    rehearse: bool
    memory_gib: float
    model: Path | None
    scratch: Path
    unsloth: Path | None = None
