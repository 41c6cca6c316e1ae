"""Execute notebooks, showing progress, and write them in one normal form.

usage: python -m tools.notebook NOTEBOOK...    (in place; `make notebooks` does all)
"""

import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

OVERWRITTEN = re.compile(r"^.*\r(?=[^\n])", re.MULTILINE)
TIMEOUT_S = 1800  # a cell


class _Client(NotebookClient):
    """Executes a notebook and tells on the terminal which cell runs, and what it prints last."""

    def __init__(self, notebook: nbformat.NotebookNode, **kwargs):
        super().__init__(notebook, **kwargs)
        self.seconds: dict[str, float] = {}  # by section heading
        self.section, self.line = "", ""

    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if cell.cell_type == "markdown":
            heading = re.search(r"^## (.+)", cell.source, re.MULTILINE)
            self.section = heading[1] if heading else self.section
        start = time.monotonic()
        self.line = f"[{cell_index + 1}/{len(self.nb.cells)}] {self.section}"
        _show(self.line)
        result = await super().async_execute_cell(cell, cell_index, **kwargs)
        passed = time.monotonic() - start
        self.seconds[self.section] = self.seconds.get(self.section, 0.0) + passed
        return result

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream" and msg["content"]["text"].strip():
            _show(f"{self.line}: {msg['content']['text'].strip().splitlines()[-1]}")
        return super().process_message(msg, cell, cell_index)


def _show(line: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{line[:110]}", end="", flush=True)
    elif ": " not in line:
        print(line, flush=True)


def execute(source: Path, target: Path) -> dict[str, float]:
    """Execute a notebook in its own folder and write it, normalised, to `target`.

    Returns:
        Seconds for each section, by its heading.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed; nothing is written.
    """
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    client = _Client(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(source.parent)}},
    )
    client.execute()
    print("\r\033[K" if sys.stdout.isatty() else "", end="")
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = OVERWRITTEN.sub("", output.text)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        }
    )
    nbformat.validate(notebook)
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return {name: seconds for name, seconds in client.seconds.items() if seconds > 0.05}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        print(f"{path.name}: {sum(execute(path, path).values()):.0f} s")
