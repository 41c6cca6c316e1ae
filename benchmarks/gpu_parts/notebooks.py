"""Every chapter, executed on the card as a reader's Jupyter does it, with one model for all.

A notebook runs in a kernel of its own. Memory is that of the kernel: what a chapter starts as a
process of its own (Chapters 5 and 6 do) is neither seen nor capped. Notebooks are read, not
written; what they write themselves goes into `runs`.
"""

import inspect
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_parts import Job
from onegpu import sources
from onegpu.machine import GIB

__all__ = ["measure", "rows"]

ROOT = Path(__file__).resolve().parents[2]
CELL_SECONDS = 600  # after which a cell is interrupted
PROFILES = ("pod", "t4")
# What the profile changes comes first: the other chapters take the small model on the CPU.
ON_THE_CARD = ("00_tldr", "02_quantization", "03_lora")
ON_THE_CPU = (
    "04_formatting",
    "05_training",
    "07_evaluation",
    "08_data",
    "01_language_models",
    "99_troubleshooting",
    "appendix_b_data_types",
)
COMPILING = ("06_deployment",)  # llama.cpp, which takes minutes
READ_MEMORY = "import json, torch; print(json.dumps(torch.cuda.reset_peak_memory_stats.note()))"


def rows(job: Job) -> list[dict[str, Any]]:
    """Return a row for each profile and notebook; a small notebook in a rehearsal."""
    if job.rehearse:
        return [{"profile": "t4", "notebook": "rehearsal", "capped": True}]
    pairs = [(profile, name) for name in ON_THE_CARD for profile in PROFILES]
    pairs += [(profile, name) for profile in PROFILES for name in ON_THE_CPU]
    pairs += [(profile, name) for profile in PROFILES for name in COMPILING]
    return [
        {"profile": profile, "notebook": name} | ({"capped": True} if profile == "t4" else {})
        for profile, name in pairs
    ]


def measure(job: Job, *, profile: str, notebook: str, capped: bool = False) -> dict[str, Any]:
    """Execute a notebook to its end, whatever fails on the way.

    Args:
        job: See `Job`.
        profile: `"pod"` or `"t4"`.
        notebook: Its name without the ending.
        capped: Whether its kernel may take `job.memory_gib` of the card and no more.

    Returns:
        `failed`, a cell each with its message (cells that are tagged `raises-exception` aside),
        the `minutes`, the `slowest` cells, and `peak_gib` of the kernel, allocated and reserved;
        `error` if the kernel died, or ran without its cap.

    Raises:
        ValueError: There is no model, and this is no rehearsal.
    """
    import nbformat

    if job.rehearse:
        source, folder = _rehearsal(), job.scratch
    else:
        folder = ROOT / "notebooks"
        source = nbformat.read(folder / f"{notebook}.ipynb", as_version=4)
    fraction = _fraction(job) if capped else None
    environment = _environment(job, profile=profile, fraction=fraction)
    start = time.monotonic()
    figures, memory = _execute(source, folder, environment)
    figures["minutes"] = round((time.monotonic() - start) / 60, 2)
    if memory:
        names = ("allocated", "reserved")
        figures["peak_gib"] = {name: round(memory[name] / GIB, 3) for name in names}
        if fraction and abs(memory["fraction"] - fraction) > 0.001:
            figures["error"] = f"not capped: it could take {memory['fraction']:.0%} of the card"
    return figures


def _fraction(job: Job) -> float | None:
    """Return the part of the card that a capped kernel may take; None on a CPU."""
    import torch

    if job.device == "cpu":
        return None
    return min(1.0, job.memory_gib * GIB / torch.cuda.get_device_properties(0).total_memory)


def _environment(job: Job, *, profile: str, fraction: float | None) -> dict[str, str]:
    """Return the environment of a kernel, and write the file that IPython runs at its start."""
    paths = [ROOT, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    ipython = Path(tempfile.mkdtemp(dir=job.scratch))
    startup = ipython / "profile_default" / "startup"
    startup.mkdir(parents=True)
    code = f"{inspect.getsource(_watch_memory)}\n_watch_memory({fraction})\ndel _watch_memory\n"
    (startup / "watch_memory.py").write_text(code, "utf-8")
    chosen = {
        "FINETUNING_PROFILE": profile,
        "IPYTHONDIR": str(ipython),
        # absolute, since a kernel's working directory is that of its notebook
        "PYTHONPATH": os.pathsep.join(str(Path(path).resolve()) for path in paths),
    }
    if job.rehearse:
        return {**os.environ, **chosen}
    if job.model is None:
        raise ValueError("no hub is asked here: give --model, a folder of SmolLM2-135M-Instruct")
    model = job.model.resolve()
    chosen["FINETUNING_BASE_MODEL"] = str(model)
    if model.name == sources.EMBEDDED and (model / sources.CHECKSUMS).exists():
        chosen["FINETUNING_CACHE"] = str(model.parent)  # the chapters on the CPU look there
    return {**os.environ, **chosen}


def _watch_memory(fraction):
    """Cap the memory of this process, and note its peak before anybody resets it."""
    import torch

    if fraction:
        torch.cuda.set_per_process_memory_fraction(fraction)
    peak = {"allocated": 0, "reserved": 0}
    reset = torch.cuda.reset_peak_memory_stats

    def note():
        peak["allocated"] = max(peak["allocated"], torch.cuda.max_memory_allocated())
        peak["reserved"] = max(peak["reserved"], torch.cuda.max_memory_reserved())
        limit = torch.cuda.get_per_process_memory_fraction() if fraction else 1.0
        return {**peak, "fraction": limit}

    def noting(*args, **kwargs):
        note()
        return reset(*args, **kwargs)

    noting.note = note
    torch.cuda.reset_peak_memory_stats = noting


def _execute(
    notebook: Any, folder: Path, environment: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Execute all cells in a folder; return what happened, and what the kernel says of memory."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    log = _Log()
    reading = nbformat.v4.new_code_cell(READ_MEMORY)
    notebook.cells.append(reading)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_SECONDS,
        interrupt_on_timeout=True,
        allow_errors=True,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=log.begin,
        on_cell_executed=log.end,
        on_cell_error=log.fail,
    )
    try:
        client.execute(env=environment)
    except DeadKernelError:
        return log.figures() | {"error": f"the kernel died in cell {log.current}"}, None
    printed = "".join(output.get("text", "") for output in reading.outputs)
    if not printed.startswith("{"):
        return log.figures() | {"error": "the kernel's memory was not watched"}, None
    return log.figures(), json.loads(printed)


class _Log:
    """What happens in the cells of a notebook, as `NotebookClient` tells it."""

    def __init__(self):
        self.current, self.start = -1, 0.0
        self.failed: list[dict[str, Any]] = []
        self.cells: list[dict[str, Any]] = []

    def begin(self, cell: Any, cell_index: int) -> None:
        self.current, self.start = cell_index, time.monotonic()

    def end(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        if cell.source == READ_MEMORY:
            return
        seconds = round(time.monotonic() - self.start, 1)
        self.cells.append(_about(cell, cell_index) | {"seconds": seconds})

    def fail(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        expected = "raises-exception" in cell.metadata.get("tags", [])
        if expected or cell.source == READ_MEMORY:
            return
        content = execute_reply["content"]
        lines = f"{content['ename']}: {content['evalue']}".replace(f"{ROOT}/", "").splitlines()
        self.failed.append(_about(cell, cell_index) | {"error": "\n".join(lines[:3])[:500]})
        print(json.dumps(self.failed[-1]), flush=True)  # the record has it at the end only

    def figures(self) -> dict[str, Any]:
        """Return how many cells ran, which failed, and which took longest."""
        slowest = sorted(self.cells, key=lambda cell: cell["seconds"], reverse=True)
        return {"cells": len(self.cells), "failed": self.failed, "slowest": slowest[:3]}


def _about(cell: Any, cell_index: int) -> dict[str, Any]:
    return {"cell": cell_index, "source": cell.source.strip().splitlines()[0]}


def _rehearsal() -> Any:
    """Return a notebook with a cell that fails, one that should, and one that is reached."""
    from nbformat import v4

    should = v4.new_code_cell("raise ValueError('on purpose')")
    should.metadata["tags"] = ["raises-exception"]
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Rehearsal"),
            v4.new_code_cell("import os\n\nprofile = os.environ['FINETUNING_PROFILE']"),
            v4.new_code_cell("1 / 0"),
            should,
            v4.new_code_cell("import helpers\n\nassert profile == 't4'"),
        ]
    )
