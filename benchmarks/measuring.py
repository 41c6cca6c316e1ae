"""What the benchmarks share: a process for each measurement, its phases, a record's header."""

import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["alone", "fill", "header", "phase"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "transformers", "tokenizers", "trl", "peft", "bitsandbytes")
CPU_INFO = Path("/proc/cpuinfo")  # Linux


def header() -> dict[str, Any]:
    """Return what the figures of a record depend on.

    Returns:
        The processor and its number of cores, the versions of Python and of packages (None for
        one that is not installed), the commit, and the command line.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """Return the commit, and whether tracked files differ from it, apart from records."""
    if not (shutil.which("git") and (ROOT / ".git").exists()):
        return "unknown: not a clone"
    head = _git("rev-parse", "HEAD")
    records = ":(exclude)helpers/data/records"  # the one that is being written is empty now
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", records)
    return f"{head}, changed" if changed else head


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def alone(script: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark in a process of its own, so that its memory and its time are its own.

    Args:
        script: The benchmark's `__file__`.
        *arguments: With which it prints one result as its last line.

    Returns:
        The result.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    command = [sys.executable, script, *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


@contextlib.contextmanager
def phase(name: str, report: dict[str, dict[str, float]]) -> Iterator[dict[str, float]]:
    """Note the seconds of the body, and the peak of resident memory in GiB.

    Args:
        name: Of the phase.
        report: Gets an entry of that name.

    Yields:
        The entry. If the body sets its `tokens`, it gets tokens per second too.
    """
    import psutil

    process, stop = psutil.Process(), threading.Event()
    entry: dict[str, float] = {"peak_gib": 0.0}

    def watch() -> None:
        while not stop.wait(0.02):
            entry["peak_gib"] = max(entry["peak_gib"], process.memory_info().rss / 1024**3)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        yield entry
    finally:
        entry["seconds"] = time.perf_counter() - start
        stop.set()
        watcher.join()
    if "tokens" in entry:
        entry["tokens_per_second"] = entry["tokens"] / entry["seconds"]
    report[name] = {key: round(value, 3) for key, value in entry.items()}


def fill(
    path: Path, jobs: Mapping[str, Callable[[], dict[str, Any]]], **described: Any
) -> dict[str, Any]:
    """Run the jobs that a record does not hold yet, and write it after each, so nothing is lost.

    Args:
        path: The record, a JSON file; it may be missing.
        jobs: What to run, by the name of its row in the record. A row is kept once it is there:
            delete it to have it measured again.
        **described: What all rows share, such as the number of steps.

    Returns:
        The record: `environment`, what was described, and `rows`.

    Raises:
        ValueError: The record was made with other settings, on another kind of processor, or with
            other versions. Its rows could not be compared with new ones.
    """
    now = header()
    record = {"environment": now, **described, "rows": {}}
    if path.exists():
        record = json.loads(path.read_text("utf-8"))
        kept = {key: record["environment"][key] for key in ("processor", *PACKAGES)}
        wanted = {key: now[key] for key in kept}
        kept |= {key: record.get(key) for key in described}
        if kept != wanted | described:
            raise ValueError(
                f"{path} holds rows of {kept}, and this run would add rows of "
                f"{wanted | described}: move the file away to start again"
            )
    for name, job in jobs.items():
        if name not in record["rows"]:
            record["rows"][name] = job()
            unfinished = path.with_suffix(".part")
            unfinished.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
            unfinished.replace(path)
            print(name, json.dumps(record["rows"][name])[:300], file=sys.stderr, flush=True)
    return record
