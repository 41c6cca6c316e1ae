"""What an executed notebook shows beside the stored one: failures, and outputs of other kinds."""

import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import gettempdir

from nbformat import NotebookNode

from tools import update, versions

__all__ = ["changed", "compare", "error_of", "failure", "kinds", "plain", "short", "summary"]

LENGTH = 300  # characters of a message that are kept
# Colors, and what is another one in each run or on each machine.
NOISE = re.compile(rf"\x1b\[[\d;]*m|\S*/(?=site-packages/)|{re.escape(gettempdir())}/[\w-]+/")


def kinds(outputs: Iterable[NotebookNode]) -> set[str]:
    """Return of what kinds a cell's outputs are: streams, errors and media types."""
    found = set()
    for output in outputs:
        if output.output_type == "stream":
            found.add(output.name)
        elif output.output_type == "error":
            found.add("error")
        else:
            found |= set(output.data)
    return found


def error_of(cell: NotebookNode) -> str:
    """Return the error in which a cell ended, as `name: message`; empty where there is none."""
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            return f"{output.ename}: {output.evalue}"
    return ""


def failure(cell: NotebookNode, stored: NotebookNode) -> str:
    """Return what is wrong with the end of a cell; empty where nothing is.

    A cell that is tagged `raises-exception` has to raise what it is stored with. Another error in
    its place is a failure that the tag would hide.
    """
    error = error_of(cell)
    if "raises-exception" not in cell.metadata.get("tags", []):
        return error
    expected = error_of(stored).partition(":")[0]
    if error.partition(":")[0] == expected:
        return ""
    return f"not {expected}, but {error or 'no error'}"


def compare(notebook: NotebookNode, stored: NotebookNode) -> dict[str, list[dict]]:
    """Return what a notebook's execution shows beside the stored one.

    Returns:
        `failed`: cells that failed, with the message. `shown`: other cells with outputs of another
        kind than stored: what is new, what is gone, and what the cell wrote to stderr.
    """
    failed, shown = [], []
    for index, (cell, before) in enumerate(zip(notebook.cells, stored.cells, strict=True)):
        if cell.cell_type != "code":
            continue
        place = {"cell": index, "starts": cell.source.partition("\n")[0]}
        if message := failure(cell, before):
            failed.append({**place, "message": short(message)})
            continue
        new, old = kinds(cell.outputs), kinds(before.outputs)
        if new != old:
            written = "".join(o.text for o in cell.outputs if o.get("name") == "stderr")
            difference = {"new": sorted(new - old), "gone": sorted(old - new)}
            shown.append({**place, **difference, "stderr": short(written)})
    return {"failed": failed, "shown": shown}


def plain(text: str) -> str:
    """Return a message without colors, and without folders that only this machine has."""
    return NOISE.sub("", text).replace(str(Path.home()), "~").strip()


def short(text: str) -> str:
    """Return the beginning of a message, plain."""
    text = plain(text)
    return text if len(text) <= LENGTH else f"{text[:LENGTH]}…"


def changed(before: str, after: str) -> dict[str, list[str]]:
    """Return the packages whose version differs between two outputs of `pip freeze`.

    Example:
        >>> changed("pyarrow==18.1.0", "pyarrow==26.0.1")
        {'pyarrow': ['18.1.0', '26.0.1']}
    """
    rows = update.changes(versions.pins(before), versions.pins(after))
    return {name: [old, new] for name, old, new in rows}


def summary(record: dict) -> str:
    """Return what happened, for people: a line for each notebook, and below it what failed."""
    made = record["install"]
    lines = [f"install cell: {made['seconds']} s, {len(made['changed'])} packages changed"]
    lines += [f"  {name} {old} -> {new}" for name, (old, new) in made["changed"].items()]
    lines += [f"  printed: {line}" for line in made["printed"]]
    lines += [f"  FAILED: {found['message']}" for found in made["failed"]]
    if made["restarts"]:
        lines.append("  asked for a restart of the session")
    if imported := made["imported_before"]:
        lines.append(f"  Colab asks for a restart, because of {', '.join(imported)}")
    for name, row in record["notebooks"].items():
        result = f"{len(row['failed'])} cells FAILED" if row["failed"] else "ok"
        lines.append(f"{name:28} {result:16} {row['seconds']:5} s")
        lines += [f"  cell {found['cell']} FAILED: {found['message']}" for found in row["failed"]]
        for found in row["shown"]:
            parts = [f"+{kind}" for kind in found["new"]] + [f"-{kind}" for kind in found["gone"]]
            line = f"  cell {found['cell']} shows {' '.join(parts)} {found['stderr']}"
            lines.append(line.rstrip())
    return "\n".join(lines)
