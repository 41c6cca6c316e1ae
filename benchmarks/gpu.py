"""Measure on one GPU what the course says about GPUs. Writes a JSON file for each part.

Run it on a card that nobody else uses. A part runs in a process of its own and writes every figure
as soon as it has it; what fails is noted with its message, and the next one runs. A second run adds
what the first one did not get to.

usage: python benchmarks/gpu.py --parts memory,speed --minutes 10 --out helpers/data/records
"""

import argparse
import gc
import importlib
import json
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from gpu_parts import PARTS, WITH_THE_SMALL_MODEL, Job
from measuring import header

from helpers import environment
from onegpu import sources
from onegpu.machine import GIB

RECORDS = Path(__file__).resolve().parents[1] / "helpers" / "data" / "records"
T4_GIB = 14.42  # of the 14.56 GiB that torch sees of a T4, CUDA itself takes 0.14
UNFINISHED = "not finished: its process died here, or its time was over"


def main(arguments: list[str] | None = None) -> int:
    """Run the parts one after the other, until the minutes are over.

    Args:
        arguments: Of the command line; those of the process without it.

    Returns:
        0, or 1 where a row failed or was not reached.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = parser.parse_args(arguments)
    if reason := _wrong(options):
        parser.error(reason)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.run:
        _run_part(options)
        return 0
    if options.plan:
        return _add_plans(_path(options, "memory"))
    for part in options.parts:
        if (path := _path(options, part)).exists():
            _read(path)  # one that is no JSON is told now, and not when its part begins
    end = time.monotonic() + 60 * options.minutes
    codes = []
    for index, part in enumerate(options.parts):
        seconds = (end - time.monotonic()) / (len(options.parts) - index)
        command = [sys.executable, __file__, *arguments, "--run", part]
        codes.append(_supervise(part, command, path=_path(options, part), seconds=seconds))
    return max(codes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = f"of {', '.join(PARTS)}, separated by commas; all without it"
    parser.add_argument("--parts", type=_parts, default=PARTS, help=parts)
    parser.add_argument(
        "--minutes", type=float, default=30, help="for all parts together, 30 without it"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument(
        "--memory-gib",
        type=float,
        default=T4_GIB,
        help="memory of the small card to imitate, a T4's 14.42 without it",
    )
    parser.add_argument(
        "--model", type=Path, help="folder of SmolLM2-135M-Instruct; fetched without it"
    )
    parser.add_argument("--unsloth", type=Path, help="folder into which Unsloth was installed")
    parser.add_argument("--commit", help="commit to record where git is missing")
    parser.add_argument(
        "--plan", action="store_true", help="write the plans into the memory record; needs no card"
    )
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, on the CPU")
    parser.add_argument("--run", choices=PARTS, help=argparse.SUPPRESS)  # one part, this process
    return parser


def _wrong(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the options, before a minute of a card is spent."""
    import torch

    for name in ("minutes", "memory_gib"):
        if not getattr(options, name) > 0:
            option = f"--{name.replace('_', '-')}"
            return f"{option} is {getattr(options, name):g}: give more than 0"
    if options.rehearse and options.out.resolve() == RECORDS:
        return f"--out is {options.out}, where the figures of cards are: rehearse in another folder"
    if options.out.exists() and not options.out.is_dir():
        return f"--out is {options.out}, a file: give a folder"
    for name in ("model", "unsloth"):
        folder = getattr(options, name)
        if folder and not folder.is_dir():
            return f"--{name} is {folder}, which isn't a folder"
    if not (options.rehearse or options.plan or torch.cuda.is_available()):
        return "torch sees no CUDA GPU: run this where there is one, or rehearse it with --rehearse"
    return None


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if unknown := [part for part in parts if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"unknown {unknown[0]!r}: choose from {','.join(PARTS)}")
    return parts


def _path(options: argparse.Namespace, part: str) -> Path:
    return options.out / f"gpu_{part}.json"


def _supervise(part: str, command: list[str], *, path: Path, seconds: float) -> int:
    """Run a part in a process, and in another where that one dies. Return 0 if all went well."""
    if path.exists():  # from an earlier run, which may have been cut off
        record = _read(path)
        record["rows"] = [row for row in record["rows"] if row.get("error") != UNFINISHED]
        _write(path, record)
    end = time.monotonic() + seconds
    code, n_before, rows = None, -1, []
    while code != 0 and len(rows) > n_before and time.monotonic() < end:
        n_before = len(rows)
        try:
            code = subprocess.run(command, timeout=end - time.monotonic(), check=False).returncode
        except subprocess.TimeoutExpired:
            print(f"{part}: its time is over", flush=True)
        rows = _read(path)["rows"] if path.exists() else []
    n_failed = sum("error" in row for row in rows)
    print(f"{part}: {len(rows)} rows, {n_failed} of them failed, in {path}", flush=True)
    return 1 if n_failed or code != 0 else 0


def _add_plans(path: Path) -> int:
    """Put the plan of each row into the record of the memory part, a few seconds a row."""
    from gpu_parts import memory

    if not path.exists():
        print(f"no plan to make: {path} is not there yet")
        return 1
    record = _read(path)
    for row in record["rows"]:
        row |= memory.planned(row["setting"], record["environment"])
        print(json.dumps(row)[:300], flush=True)
    _write(path, record)
    return 0


def _run_part(options: argparse.Namespace) -> None:
    """Measure, in this process, the rows of a part that are not in its record yet."""
    environment.quiet()
    path = _path(options, options.run)
    part = importlib.import_module(f"gpu_parts.{options.run}")
    gc.freeze()  # what was imported stays, and need not be searched for garbage after each row
    record = {"environment": _environment(options), "rows": []}
    if path.exists():
        record["rows"] = _rows_of_this_card(path, record["environment"])
    known = [row["setting"] for row in record["rows"]]
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(
            device="cpu" if options.rehearse else "cuda",
            rehearse=options.rehearse,
            memory_gib=options.memory_gib,
            model=_small_model(options),
            scratch=Path(scratch),
            unsloth=options.unsloth,
        )
        for setting in part.rows(job):
            if setting in known:
                continue
            record["rows"].append({"setting": setting, "error": UNFINISHED})
            _write(path, record)  # so that it is there if the process dies in this row
            record["rows"][-1] = {"setting": setting} | _measured(part, job, setting)
            _write(path, record)
            print(options.run, json.dumps(record["rows"][-1])[:300], flush=True)
            if "AcceleratorError" in record["rows"][-1].get("error", ""):
                sys.exit("this process can use the card no more: the next row gets a new one")


def _small_model(options: argparse.Namespace) -> Path | None:
    if options.model or options.rehearse or options.run not in WITH_THE_SMALL_MODEL:
        return options.model
    try:
        return sources.embedded_folder()
    except RuntimeError as error:  # the rows that need it will say so
        print(f"{options.run}: {error}", flush=True)
        return None


def _measured(part: ModuleType, job: Job, setting: dict[str, Any]) -> dict[str, Any]:
    """Return what a row measures, or the message of what stopped it."""
    import torch

    start = time.perf_counter()
    try:
        _limit_memory(job.memory_gib if setting.get("capped") else None)
        figures = part.measure(job, **setting)
    except torch.OutOfMemoryError as error:
        figures = {"out_of_memory": str(error)}
    except Exception:
        figures = {"error": traceback.format_exc()}
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return figures | {"wall_seconds": round(time.perf_counter() - start, 1)}


def _limit_memory(gib: float | None) -> None:
    """Let torch take so much of the card, as if it had no more; without a number, all of it."""
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        fraction = 1.0 if gib is None else min(1.0, gib * GIB / total)
        torch.cuda.set_per_process_memory_fraction(fraction)


def _rows_of_this_card(path: Path, environment: dict[str, Any]) -> list[dict[str, Any]]:
    record = _read(path)
    if record["environment"]["gpu"] != environment["gpu"]:
        raise SystemExit(
            f"{path} was measured on {record['environment']['gpu']}, and this is "
            f"{environment['gpu']}: give another folder with --out, figures of two cards do not mix"
        )
    return record["rows"]


def _environment(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    found = header() | ({"commit": options.commit} if options.commit else {})
    if options.rehearse:
        return found | {"gpu": "none: a rehearsal on a CPU"}
    card = torch.cuda.get_device_properties(0)
    return found | {
        "gpu": card.name,
        "gpu_bytes": card.total_memory,
        "capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "driver": _driver(),
    }


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SystemExit(f"{path} is no JSON ({error}): move it away, and run this again") from None


def _write(path: Path, record: dict[str, Any]) -> None:
    """Write a record in one step, so that it is whole whenever the process dies."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
