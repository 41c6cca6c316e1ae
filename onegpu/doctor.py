"""What this machine can do, what is missing on it, and the command that fixes it.

Run it with `onegpu doctor`, or in a clone with `python -m onegpu doctor`. It needs nothing but
Python, because it is what people run where nothing is installed yet.
"""

import contextlib
import dataclasses
import importlib.metadata
import os
import re
import shutil
import sys
from pathlib import Path

from onegpu import llama_cpp
from onegpu.downloads import PROJECT, cache_folder
from onegpu.machine import GIB, cpu_has_bfloat16, memory_bytes
from onegpu.sources import EMBEDDED, is_fetched

__all__ = ["Check", "declared", "examine", "minimums"]

ROOT = Path(__file__).resolve().parent.parent  # the clone, or where pip installed the package
EXTRAS = {
    "making": "onegpu make-data",
    "preflight": "onegpu preflight, onegpu fetch",
    "deploy": "onegpu inspect, onegpu parity",
}
REQUIREMENT = re.compile(r'([\w.-]+)>=([\d.]+)(?:; extra == "(\w+)")?')


@dataclasses.dataclass(frozen=True)
class Check:
    """One row of the table: what was looked at, what was found, and what fixes it.

    Attributes:
        name: What was looked at.
        found: What was found.
        ok: Whether everything that was asked for runs with it.
        fix: The command or step that fixes it; empty where nothing is wrong, or where one command
            of another row installs it too. A row that is ok may name what more there could be.
    """

    name: str
    found: str
    ok: bool
    fix: str = ""


def examine(*, extra: str = "") -> list[Check]:
    """Check what this machine can do and what is missing on it.

    Args:
        extra: An extra of pyproject.toml whose packages are demanded, as those that every command
            needs are, such as `"course"`. Without it `preflight` and `deploy` are looked at, and
            what they lack is no problem.

    Returns:
        One row for Python, the package itself, each required package, the processor, the GPU,
        memory, disk, the small model and llama.cpp. Processor and GPU need torch.

    Example:
        >>> examine()[0].name
        'Python'
    """
    version = ".".join(map(str, sys.version_info[:3]))
    is_right = (3, 11) <= sys.version_info < (3, 14)
    return [
        _check("Python", version, is_right, "install Python 3.11, 3.12 or 3.13"),
        *_check_packages(extra),
        *_check_processors(),
        *_check_room(),
        *_check_downloads(),
    ]


def _check(name: str, found: str, ok: bool, fix: str) -> Check:
    return Check(name, found, ok, "" if ok else fix)


# Packages ----------------------------------------------------------------------------------------


def _check_packages(extra: str) -> list[Check]:
    in_clone = (ROOT / "pyproject.toml").exists()
    # pip leaves a record in a clone that it installs, which any Python started there would find.
    folders = [f for f in sys.path if not (in_clone and Path(f).resolve() == ROOT)]
    installed = next(iter(importlib.metadata.distributions(name=PROJECT, path=folders)), None)
    if installed:
        lines = installed.requires or []
        rows = [Check(PROJECT, f"{installed.version}, installed", True)]
    else:
        lines = declared(ROOT) if in_clone else []
        rows = [Check(PROJECT, "not installed", False, _installation(extra))]
    for name, minimum in (minimums(lines) | minimums(lines, extra=extra)).items():
        found, ok = _found(name, minimum)
        fix = f"pip install {_quoted({name: minimum})}" if installed else ""
        rows.append(_check(name, found, ok, fix))
    if extra:
        return rows
    for name, commands in EXTRAS.items():
        wanted = minimums(lines, extra=name).items()
        lacks = {package: least for package, least in wanted if not _found(package, least)[1]}
        found, fix = "complete", ""
        if lacks:
            found = f"lacks {', '.join(lacks)}"
            fix = f"pip install {_quoted(lacks)}" if installed else f'pip install -e ".[{name}]"'
        rows.append(Check(f"[{name}]", f"{found} (for {commands})", True, fix))
    return rows


def _installation(extra: str) -> str:
    """Return how a clone is installed, or where it is."""
    if (ROOT / ".venv" / ".installed").exists():
        return "make doctor (it is installed in .venv, and this is another Python)"
    if extra:
        return f'make run (or: pip install -e ".[{extra}]")'
    return "pip install -e ."


def declared(root: Path) -> list[str]:
    """Return what a clone requires, as an installed package tells it.

    Args:
        root: The folder of pyproject.toml.

    Returns:
        A line for each package, such as `torch>=2.8` or `gguf>=0.17; extra == "deploy"`.
    """
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    lines = list(project["project"]["dependencies"])
    extras = project["tool"]["setuptools"]["dynamic"]["optional-dependencies"]
    for extra, source in extras.items():
        for name in source["file"]:
            read = (root / name).read_text("utf-8").splitlines()
            lines += [f'{line}; extra == "{extra}"' for line in read]
    return lines


def minimums(lines: list[str], *, extra: str = "") -> dict[str, str]:
    """Read requirements as they are written here: a name and the lowest version.

    The package `packaging` reads all that there can be; a bare Python does not have it.

    Args:
        lines: Of requirements.txt, or from an installed package.
        extra: Take the lines of this extra; without it those of none.

    Returns:
        The lowest version of each package.

    Example:
        >>> minimums(["# comment", "torch>=2.8", 'ruff>=0.14; extra == "dev"'])
        {'torch': '2.8'}
    """
    matches = (REQUIREMENT.fullmatch(line.strip()) for line in lines)
    return {match[1]: match[2] for match in matches if match and (match[3] or "") == extra}


def _found(name: str, minimum: str) -> tuple[str, bool]:
    """Return the version of a package, and whether it is high enough."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing", False
    return version, _numbers(version) >= _numbers(minimum)


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version before its suffix, without the zeros at their end."""
    release = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(number) for number in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        del numbers[-1]
    return numbers


def _quoted(wanted: dict[str, str]) -> str:
    return " ".join(f'"{name}>={minimum}"' for name, minimum in wanted.items())


# The machine -------------------------------------------------------------------------------------


def _check_processors() -> list[Check]:
    try:
        import torch
    except ModuleNotFoundError:
        return []  # a row above says so
    except (ImportError, OSError) as error:
        why = str(error).splitlines()[0]
        fix = "install a build of torch that fits this machine (pytorch.org, Get Started)"
        return [Check("processor", f"torch cannot be imported: {why}", False, fix)]
    arithmetic = "fast bfloat16" if cpu_has_bfloat16() else "float32 only"
    rows = [Check("processor", f"{os.cpu_count()} cores, {arithmetic}", True)]
    if torch.cuda.is_available():
        card, count = torch.cuda.get_device_properties(0), torch.cuda.device_count()
        memory = f"{card.total_memory / GIB:.1f} GiB, capability {card.major}.{card.minor}"
        fix = "export CUDA_VISIBLE_DEVICES=0 (trl refuses several GPUs in one process)"
        rows.append(_check("GPU", f"{count} × {card.name}, {memory}", count == 1, fix))
    elif shutil.which("nvidia-smi"):
        fix = "install a build of torch that matches your driver (pytorch.org, Get Started)"
        rows.append(Check("GPU", "the driver is installed, but torch sees no GPU", False, fix))
    else:
        rows.append(Check("GPU", "none: everything runs without one", True))
    return rows


def _check_room() -> list[Check]:
    rows = []
    with contextlib.suppress(OSError):  # Windows does not say
        rows.append(Check("memory", f"{memory_bytes() / GIB:.0f} GiB", True))
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free_gib = shutil.disk_usage(folder).free / GIB
    fix = "free 3 GiB or set FINETUNING_CACHE"
    return [*rows, _check("free disk", f"{free_gib:.0f} GiB", free_gib >= 3, fix)]


def _check_downloads() -> list[Check]:
    model, tools = Check(EMBEDDED, "fetched", True), Check("llama.cpp", "installed", True)
    if not is_fetched():
        model = Check(EMBEDDED, "not fetched yet", True, "python -m onegpu fetch")
    if not llama_cpp.is_installed():
        fix = 'python -c "from onegpu import llama_cpp; llama_cpp.install()" (minutes, once)'
        tools = Check("llama.cpp", "not compiled yet (for GGUF files)", True, fix)
    return [model, tools]
