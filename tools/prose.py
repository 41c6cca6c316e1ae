"""Look for misspelled words in pages, notebooks and code: the check `prose`."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PLAIN = ("*.md", ".github/**/*.yml", "deploy/*", "helpers/**/*.py", "tools/*.py", "benchmarks/*.py")


def texts(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield name and text of each page and module, and of each Markdown cell of the notebooks."""
    for pattern in PLAIN:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root).as_posix(), path.read_text("utf-8")
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        for i, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "markdown":
                yield f"{path.relative_to(root).as_posix()}, cell {i}", cell.source


def misspelled(named_texts: Iterator[tuple[str, str]]) -> list[str]:
    """Return what codespell finds, a line each: where, the line there, word and correction."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in named_texts:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        command = [sys.executable, "-m", "codespell_lib", "--check-hidden", "."]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.stderr or (run.returncode and not run.stdout):
        raise RuntimeError(f"codespell failed: {run.stderr}")
    return [line.removeprefix("./") for line in run.stdout.splitlines()]


if __name__ == "__main__":
    found = misspelled(texts())
    print("\n".join(found) or "no word is misspelled")
    sys.exit(bool(found))
