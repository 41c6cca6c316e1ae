"""What the course lacks on this machine: the row of the profile, and its own demands.

Run it with `make doctor`, or `python -m helpers doctor`. Like `onegpu.doctor` it needs nothing but
Python.
"""

import dataclasses

from helpers.environment import profile
from onegpu import doctor
from onegpu.doctor import Check
from onegpu.machine import GIB, memory_bytes

__all__ = ["examine"]

LEAST_GIB = 5.5  # of a machine that is sold with 6 GiB


def examine() -> list[Check]:
    """Check what this machine can do and what the course lacks on it.

    Returns:
        The rows of `onegpu.doctor.examine`, which demands the packages of the course here, and one
        for the profile, which needs torch.

    Example:
        >>> "memory" in [row.name for row in examine()]
        True
    """
    rows = [_enough(row) for row in doctor.examine(extra="course")]
    try:
        mine = profile()
    except ImportError:
        return rows
    except ValueError as error:
        return [*rows, Check("profile", str(error), False, "unset FINETUNING_PROFILE")]
    found = f"{mine.name}: {mine.base_model}, {mine.precision}"
    return [*rows, Check("profile", found, True)]


def _enough(row: Check) -> Check:
    """Return the row of the memory with what the course says to it, and any other as it is."""
    if row.name != "memory" or memory_bytes() >= LEAST_GIB * GIB:
        return row
    fix = "the course needs 6 GiB: take another machine, or Colab (Appendix A)"
    return dataclasses.replace(row, ok=False, fix=fix)
