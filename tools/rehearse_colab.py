"""Rehearse Colab: every notebook, from the wheel alone, with Colab's Python and packages.

Makes `.venv-colab` (ten minutes and 8 GB, once), builds the wheel, and executes each notebook in a
folder that holds nothing else, install cell included, under the profile that the machine gets by
itself. Cells after one that failed are executed too. `helpers/data/records/colab_cpu.json` is
written after each notebook; one that it holds is not executed again until the notebook or the
library changes, unless it is named.
"""

import argparse
import copy
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools import update, versions
from tools.colab import environment, outcome
from tools.notebook import TIMEOUT_S

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "helpers" / "data" / "records" / "colab_cpu.json"
FOLDER = ROOT / ".venv-colab"
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "numpy", "ipython")
RESTART = "Restart session"  # what the install cell says where it asks for one


def build_wheel(folder: Path) -> Path:
    """Build the course's wheel into a folder and return its path.

    Raises:
        RuntimeError: It could not be built; why stands above.
    """
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # modules that are gone would come back
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    if update.run([*command, "--wheel-dir", folder, "."], show=True).returncode:
        raise RuntimeError("the wheel could not be built")
    (wheel,) = folder.glob("*.whl")
    return wheel


def digest(notebook: NotebookNode, wheel: Path) -> str:
    """Return a digest of what a notebook's outcome depends on: its code, and the wheel's files."""
    parts = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    with zipfile.ZipFile(wheel) as files:
        for file in files.infolist():
            # Without the records, of which ours is one, and without the README in the metadata.
            if "/records/" not in file.filename and ".dist-info/" not in file.filename:
                parts.append(f"{file.filename} {file.CRC}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def install_cell(notebook: NotebookNode) -> NotebookNode:
    """Return the cell of a notebook that installs the course."""
    (cell,) = [c for c in notebook.cells if "install" in c.metadata.get("tags", [])]
    return cell


def asks_for_restart(notebook: NotebookNode) -> bool:
    """Return whether the install cell ended by asking the reader to restart the session."""
    return RESTART in outcome.error_of(install_cell(notebook))


def run_session(stored: NotebookNode, content: Path) -> tuple[NotebookNode, list[dict]]:
    """Execute the cells in a session of their own, those after a failed one too.

    Args:
        stored: It stays as it is.
        content: The folder in which the session starts.

    Returns:
        The executed notebook; and where the session broke off and why, as a failed cell, if so.
    """
    notebook = copy.deepcopy(stored)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # where the session does not get to
    client = NotebookClient(
        notebook,
        kernel_name="colab",
        timeout=TIMEOUT_S,
        allow_errors=True,
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        resources={"metadata": {"path": str(content)}},
    )
    client.create_kernel_manager().kernel_spec_manager.kernel_dirs = [str(FOLDER / "kernels")]
    with client.setup_kernel(env=environment.variables(FOLDER)):
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except (CellTimeoutError, DeadKernelError) as error:
                message = f"{type(error).__name__}: the cells below were not run"
                return notebook, [{"cell": index, "message": message}]
            if asks_for_restart(notebook):
                break
    return notebook, []


def rehearse(stored: NotebookNode, wheel: Path) -> tuple[NotebookNode, dict]:
    """Execute a notebook as Colab does, again from the top if it asks for a restart.

    Returns:
        The executed notebook, and what is to be recorded of it.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as content:
        shutil.copy(wheel, content)
        notebook, broken = run_session(stored, Path(content))
        restarts = asks_for_restart(notebook)
        if restarts:
            notebook, broken = run_session(stored, Path(content))
    seconds = round(time.monotonic() - start)
    found = outcome.compare(notebook, stored)
    found["failed"] += broken
    return notebook, {"seconds": seconds, "restarts": restarts, **found}


def install(stored: NotebookNode, wheel: Path) -> dict:
    """Execute the install cell alone, for the first time in a new environment.

    Returns:
        What `rehearse` records; what the cell printed; which versions it changed; and those of
        them that were imported before, because of which Colab itself asks for a restart.
    """
    alone = copy.deepcopy(stored)
    alone.cells = [install_cell(alone)]
    notebook, row = rehearse(alone, wheel)
    streams = [o.text for o in notebook.cells[0].outputs if o.output_type == "stream"]
    before = (FOLDER / "before.txt").read_text("utf-8")
    changed = outcome.changed(before, environment.packages(FOLDER))
    return {
        **row,
        "printed": outcome.plain("".join(streams)).splitlines(),
        "changed": changed,
        "imported_before": sorted(changed.keys() & set(environment.IMPORTED)),
    }


def prepare(python: str | None, wheel: Path, first: NotebookNode) -> dict:
    """Have an environment with the wheel in it. Return what the install cell did when it was new.

    Raises:
        RuntimeError: The environment could not be made.
        ValueError: There is no such Python.
    """
    if not environment.is_built(FOLDER):
        environment.build(FOLDER, environment.find_python(python))
    known = FOLDER / "install.json"
    if known.exists():  # another wheel of the same version would be taken for installed
        command = [environment.python_of(FOLDER), "-m", "pip", "install", "--quiet", "--no-deps"]
        update.run([*command, "--force-reinstall", wheel], show=True)
    else:
        known.write_text(json.dumps(install(first, wheel)), "utf-8")
    return json.loads(known.read_text("utf-8"))


def header() -> dict:
    """Return what the figures of the record depend on."""
    pins = versions.pins(environment.packages(FOLDER))
    return {
        "python": environment.version(environment.python_of(FOLDER)),
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count()),
        **{name: pins[name] for name in PACKAGES},
    }


def main(arguments: list[str] | None = None) -> int:
    """Rehearse, record, report. Return 1 if a cell failed or there is nothing to run it with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", metavar="PATH", help=f"a Python {environment.PYTHON}")
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", type=Path, help="or all")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    stored = {path.name: nbformat.read(path, as_version=4) for path in paths}
    known = json.loads(RECORD.read_text("utf-8"))["notebooks"] if RECORD.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        try:
            wheel = build_wheel(Path(temporary))
            installed = prepare(options.python, wheel, stored[paths[0].name])
        except (RuntimeError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        record = {"environment": header(), "install": installed, "notebooks": known}
        for name, notebook in stored.items():
            sources = digest(notebook, wheel)
            if known.get(name, {}).get("sources") == sources and not options.notebooks:
                continue
            print(name, flush=True)
            executed, row = rehearse(notebook, wheel)
            (FOLDER / "executed").mkdir(exist_ok=True)
            nbformat.write(executed, FOLDER / "executed" / name)
            known[name] = {"sources": sources, **row}
            record["notebooks"] = dict(sorted(known.items()))
            RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(outcome.summary(record))
    return 1 if any(row["failed"] for row in (installed, *known.values())) else 0


if __name__ == "__main__":
    sys.exit(main())
