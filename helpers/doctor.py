"""What this machine can do, what is missing on it, and the command that mends it.

Run it with `python -m helpers doctor`.
"""

import contextlib
import dataclasses
import importlib.metadata
import os
import shutil
import sys

from helpers.environment import GIB, PROJECT, cache_folder, cpu_has_bfloat16, profile
from helpers.models import EMBEDDED, is_fetched

__all__ = ["Check", "examine"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One row of the table: what was looked at, what was found, and what mends it.

    Attributes:
        name: What was looked at.
        found: What was found.
        ok: Whether the course runs with it.
        mend: The command or step that mends it; empty where nothing is wrong.
    """

    name: str
    found: str
    ok: bool
    mend: str = ""


def examine() -> list[Check]:
    """Check what this machine can do and what the course lacks on it.

    Returns:
        One row for Python, each required package, the profile, the processor, the GPU, memory,
        disk and the embedded model.

    Example:
        >>> examine()[0].name
        'Python'
    """
    version = ".".join(map(str, sys.version_info[:3]))
    rows = [
        _check("Python", version, (3, 11) <= sys.version_info < (3, 14), "install 3.11 to 3.13")
    ]
    packages = _check_packages()
    rows += packages
    if not any(row.name == "torch" and row.found == "missing" for row in packages):
        rows += _check_processors()
    return rows + _check_room()


def _check(name: str, found: str, ok: bool, mend: str) -> Check:
    return Check(name, found, ok, "" if ok else mend)


def _check_packages() -> list[Check]:
    from packaging.requirements import Requirement

    rows = []
    for line in importlib.metadata.requires(PROJECT) or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
            ok = requirement.specifier.contains(found, prereleases=True)
        except importlib.metadata.PackageNotFoundError:
            found, ok = "missing", False
        rows.append(_check(requirement.name, found, ok, f'pip install "{requirement}"'))
    return rows


def _check_processors() -> list[Check]:
    import torch

    arithmetic = "multiplies bfloat16" if cpu_has_bfloat16() else "float32 only"
    rows = [Check("processor", f"{os.cpu_count()} cores, {arithmetic}", True)]
    try:
        mine = profile()
        rows.insert(0, Check("profile", f"{mine.name}: {mine.base_model}, {mine.precision}", True))
    except ValueError as error:
        rows.insert(0, Check("profile", str(error), False, "unset FINETUNING_PROFILE"))
    if torch.cuda.is_available():
        card, count = torch.cuda.get_device_properties(0), torch.cuda.device_count()
        memory = f"{card.total_memory / GIB:.1f} GiB, capability {card.major}.{card.minor}"
        mend = "export CUDA_VISIBLE_DEVICES=0, for trl refuses several GPUs in one process"
        rows.append(_check("GPU", f"{count} × {card.name}, {memory}", count == 1, mend))
    elif shutil.which("nvidia-smi"):
        mend = "install a torch that fits the driver: see pytorch.org, Get Started"
        rows.append(Check("GPU", "the driver is there, torch sees no GPU", False, mend))
    else:
        rows.append(Check("GPU", "none: every chapter runs without one", True))
    return rows


def _check_room() -> list[Check]:
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free_gib = shutil.disk_usage(folder).free / GIB
    rows = [
        _check(
            "free disk", f"{free_gib:.0f} GiB", free_gib >= 3, "free 3 GiB or set FINETUNING_CACHE"
        )
    ]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
        rows.append(
            _check(
                "memory",
                f"{memory_gib:.0f} GiB",
                memory_gib >= 5.5,
                "close programs: it takes 6 GiB",
            )
        )
    fetched = is_fetched()
    found = "fetched" if fetched else "not fetched yet"
    return [*rows, _check(EMBEDDED, found, fetched, "python -m helpers fetch")]
