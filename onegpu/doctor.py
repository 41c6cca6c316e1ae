"""What this machine can do, what is missing on it, and the command that fixes it.

Run it with `python -m helpers doctor`. It needs nothing but Python, because it is what people run
where nothing is installed yet.
"""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from onegpu.downloads import PROJECT, cache_folder
from onegpu.machine import GIB, cpu_has_bfloat16
from onegpu.sources import EMBEDDED, is_fetched

__all__ = ["Check", "examine", "minimums"]

ROOT = Path(__file__).resolve().parent.parent  # the clone, or where pip installed the course
INSTALL = "make run (or: pip install -r requirements.txt && pip install --no-deps -e .)"
ELSEWHERE = "make doctor (the course is installed in .venv, and this is another Python)"


@dataclasses.dataclass(frozen=True)
class Check:
    """One row of the table: what was looked at, what was found, and what fixes it.

    Attributes:
        name: What was looked at.
        found: What was found.
        ok: Whether the course runs with it.
        fix: The command or step that fixes it; empty where nothing is wrong, or where installing
            the course fixes it.
    """

    name: str
    found: str
    ok: bool
    fix: str = ""


def examine() -> list[Check]:
    """Check what this machine can do and what the course lacks on it.

    Returns:
        One row for Python, the course, each required package, the profile, the processor, the
        GPU, memory, disk and the embedded model. Profile, processor and GPU need torch.

    Example:
        >>> examine()[0].name
        'Python'
    """
    version = ".".join(map(str, sys.version_info[:3]))
    rows = [
        _check(
            "Python",
            version,
            (3, 11) <= sys.version_info < (3, 14),
            "install Python 3.11, 3.12 or 3.13",
        )
    ]
    rows += _check_packages()
    if importlib.util.find_spec("torch"):
        rows += _check_processors()
    return rows + _check_room()


def _check(name: str, found: str, ok: bool, fix: str) -> Check:
    return Check(name, found, ok, "" if ok else fix)


def _check_packages() -> list[Check]:
    in_clone = ROOT / "requirements.txt"
    # pip leaves a record in a clone that it installs, which any Python started there would find.
    folders = [f for f in sys.path if not (in_clone.exists() and Path(f).resolve() == ROOT)]
    course = next(iter(importlib.metadata.distributions(name=PROJECT, path=folders)), None)
    if course:
        lines, rows = course.requires or [], [Check("the course", "installed", True)]
    else:
        lines = in_clone.read_text("utf-8").splitlines() if in_clone.exists() else []
        fix = ELSEWHERE if (ROOT / ".venv" / ".installed").exists() else INSTALL
        rows = [Check("the course", "not installed", False, fix)]
    for name, minimum in minimums(lines).items():
        try:
            found = importlib.metadata.version(name)
            ok = _numbers(found) >= _numbers(minimum)
        except importlib.metadata.PackageNotFoundError:
            found, ok = "missing", False
        fix = f'pip install "{name}>={minimum}"' if course else ""
        rows.append(_check(name, found, ok, fix))
    return rows


def minimums(lines: list[str]) -> dict[str, str]:
    """Read requirements as the course writes them: a name and the lowest version.

    The package `packaging` reads all that there can be; a bare Python does not have it.

    Args:
        lines: Of requirements.txt, or from an installed course, whose extras are left out.

    Returns:
        The lowest version of each package.

    Example:
        >>> minimums(["# comment", "torch>=2.8", 'ruff>=0.14; extra == "dev"'])
        {'torch': '2.8'}
    """
    matches = (re.fullmatch(r"([\w.-]+)>=([\d.]+)", line.strip()) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version before its suffix, without the zeros at their end."""
    release = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(number) for number in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        del numbers[-1]
    return numbers


def _check_processors() -> list[Check]:
    import torch

    from helpers.environment import profile

    arithmetic = "fast bfloat16" if cpu_has_bfloat16() else "float32 only"
    rows = [Check("processor", f"{os.cpu_count()} cores, {arithmetic}", True)]
    try:
        mine = profile()
        rows.insert(0, Check("profile", f"{mine.name}: {mine.base_model}, {mine.precision}", True))
    except ValueError as error:
        rows.insert(0, Check("profile", str(error), False, "unset FINETUNING_PROFILE"))
    if torch.cuda.is_available():
        card, count = torch.cuda.get_device_properties(0), torch.cuda.device_count()
        memory = f"{card.total_memory / GIB:.1f} GiB, capability {card.major}.{card.minor}"
        fix = "export CUDA_VISIBLE_DEVICES=0 (trl refuses several GPUs in one process)"
        rows.append(_check("GPU", f"{count} × {card.name}, {memory}", count == 1, fix))
    elif shutil.which("nvidia-smi"):
        fix = "install a build of torch that matches your driver (pytorch.org, Get Started)"
        rows.append(Check("GPU", "the driver is installed, but torch sees no GPU", False, fix))
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
                "the course needs 6 GiB: take another machine, or Colab (Appendix A)",
            )
        )
    fetched = is_fetched()
    found = "fetched" if fetched else "not fetched yet"
    return [*rows, _check(EMBEDDED, found, fetched, "python -m helpers fetch")]
