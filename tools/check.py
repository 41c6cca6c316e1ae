"""Run every check and print a summary line for each: the work of `make test`.

With `--fast`, the work of `make test-fast`: without the unit tests that are marked slow, without
the browser, and with two notebooks that train nothing. With names of checks, only these.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools import browser

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [sys.executable, "-m", "pytest", "-q", "--no-header", "--durations=5"]
IN_TWO = ["--numprocesses", "2"]
# A thread for each of the two, unless the caller says otherwise. Threads that wait sleep: by
# default they spin, and those of one process then hold up the other's, up to fifty times.
THREADS_IN_TWO = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# What is committed was printed without a GPU; beside one, bitsandbytes loads another library.
AS_ON_A_CPU = {"FINETUNING_PROFILE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
BY_FILE = [*IN_TWO, "--dist", "loadfile", "--no-loadscope-reorder"]
NBVAL = [
    *(*PYTEST, *BY_FILE),
    *("-p", "strict_nbval", "--nbval", "--nbval-current-env"),
    *("--nbval-sanitize-with", "tests/notebooks/sanitize.cfg"),
    *("--nbval-cell-timeout", "1800", "--nbval-kernel-startup-timeout", "120"),
]
# Two at a time, in this order: what takes long comes early, and Chapter 6, which needs the
# adapter of Chapter 0, when it has long been trained.
NOTEBOOKS = [
    "notebooks/00_tldr.ipynb",
    "notebooks/05_training.ipynb",
    "notebooks/04_formatting.ipynb",
    "notebooks/02_quantization.ipynb",
    "notebooks/99_troubleshooting.ipynb",
    "notebooks/03_lora.ipynb",
    "notebooks/06_deployment.ipynb",
    "notebooks/07_evaluation.ipynb",
    "notebooks/08_data.ipynb",
    "notebooks/01_language_models.ipynb",
    "notebooks/appendix_b_data_types.ipynb",
]
CHECKS = {
    "ruff lint": [sys.executable, "-m", "ruff", "check"],
    "ruff format": [sys.executable, "-m", "ruff", "format", "--check"],
    "prose": [sys.executable, "-m", "tools.prose"],
    "dependencies": [sys.executable, "-m", "deptry", "."],
    "types": [
        *(sys.executable, "-m", "pyrefly", "check"),
        *("--python-interpreter-path", sys.executable),
    ],
    "docstrings": [sys.executable, "-m", "pydoclint.main", "onegpu", "helpers"],
    "model": [sys.executable, "-m", "helpers", "fetch"],
    "unit tests": [*PYTEST, *BY_FILE, "tests/unit"],
    "doctests": [*PYTEST, "--doctest-modules", "onegpu", "helpers", "tools"],
    "static notebook checks": [*PYTEST, "tests/notebooks/test_static.py"],
    "API drift": [*PYTEST, "tests/notebooks/test_api_drift.py"],
    "test harness": [*PYTEST, *IN_TWO, "tests/notebooks/test_harness.py"],
    "site": [*PYTEST, "tests/site/test_pages.py"],
    "site in a browser": [*PYTEST, *IN_TWO, "tests/site/test_browser.py"],
    "notebooks": [*NBVAL, *NOTEBOOKS],
}
FAST_CHECKS = {
    **{name: command for name, command in CHECKS.items() if name != "site in a browser"},
    "unit tests": [*CHECKS["unit tests"], "-m", "not slow"],
    # These train nothing and are quick. Chapter 2 trains nothing either, and takes longer.
    "notebooks": [*NBVAL, *NOTEBOOKS[-2:]],
}


def missing(name: str) -> str | None:
    """Return why a check cannot run on this machine, None where it can."""
    if name == "site in a browser" and not (browser.find() or browser.fetch()):
        return browser.ADVICE
    return None


def run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command, printing what it prints. Return its exit status and its last line."""
    last = ""
    # A kernel that nbval ends removes none of its temporary folders: a gigabyte in Chapter 6
    with tempfile.TemporaryDirectory() as temporary:
        started = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment | {"TMPDIR": temporary},
            text=True,
            stdout=subprocess.PIPE,
        )
        for last in started.stdout:
            print(last, end="", flush=True)
        return started.wait(), last


def main(arguments: list[str] | None = None) -> int:
    """Run the checks, the later ones too where one fails. Return 1 if any failed.

    What cannot run on this machine says so in its line and is counted as skipped.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="leave out what takes long")
    parser.add_argument("names", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; or all")
    options = parser.parse_args(arguments)
    checks = FAST_CHECKS if options.fast else CHECKS
    if unknown := [name for name in options.names if name not in checks]:
        parser.error(f"unknown check {unknown[0]!r}: choose from {', '.join(checks)}")
    checks = {name: checks[name] for name in options.names or checks}
    environment = {**os.environ, **AS_ON_A_CPU, "PYTHONUNBUFFERED": "1"}
    environment.pop("FINETUNING_BASE_MODEL", None)
    summary, n_failed, n_skipped = [], 0, 0
    for name, command in checks.items():
        print(f"\n== {name}", flush=True)
        if reason := missing(name):
            print(f"NOT RUN: {reason}")
            summary.append(f"{name:24} NOT RUN: {reason}")
            n_skipped += 1
            continue
        start = time.monotonic()
        threads = THREADS_IN_TWO if set(IN_TWO) <= set(command) else {}
        code, last = run(command, threads | environment)
        n_failed += code != 0
        counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", last)
        result = "ok" if code == 0 else f"FAILED ({code})"
        seconds = time.monotonic() - start
        summary.append(f"{name:24} {result:12} {', '.join(counts):28} {seconds:5.0f} s")
    print("\n" + "\n".join(summary))
    skipped = f", {n_skipped} skipped" if n_skipped else ""
    print(f"{len(checks) - n_failed - n_skipped} passed, {n_failed} failed{skipped}")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
