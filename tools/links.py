"""Write the repository's address into badges and install cells.

`pyproject.toml` holds the address; everything else is generated from it.
usage: python tools/links.py [owner/name]
"""

import re
import sys
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = re.compile(r'(?<=Repository = "https://github\.com/)[^"]+')
README = re.compile(  # in the badges, and where the course is cited
    r"(?<=colab\.research\.google\.com/github/)[^/]+/[^/]+(?=/)"
    r"|(?<={https://github\.com/)[^/}]+/[^/}]+(?=})"
)

BADGE = (
    "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/notebooks/{notebook})"
)
INSTALL = """\
# On Colab this installs the course and leaves torch and numpy alone; elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet git+https://github.com/{repository}
    import importlib.metadata

    import pyarrow

    if pyarrow.__version__ != importlib.metadata.version("pyarrow"):
        sys.exit("pyarrow was upgraded: choose Runtime > Restart session, then run all cells")"""


def repository(root: Path = ROOT) -> str:
    """Return `owner/name` as `pyproject.toml` has it."""
    urls = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    return urls["Repository"].removeprefix("https://github.com/")


def generated(tag: str, notebook: str, repository: str) -> str:
    """Return the source of a notebook's cell tagged `badge` or `install`."""
    template = {"badge": BADGE, "install": INSTALL}[tag]
    return template.format(repository=repository, notebook=notebook)


def rewrite(root: Path, new: str) -> list[Path]:
    """Set the address to `owner/name` and rewrite all that is generated from it.

    Returns:
        The files that changed.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", new):
        raise ValueError(f"{new!r} is not of the form owner/name")
    changed = []
    for path, pattern in ((root / "pyproject.toml", REPOSITORY), (root / "README.md", README)):
        old = path.read_text("utf-8")
        text = pattern.sub(new, old)
        if text != old:
            path.write_text(text, "utf-8")
            changed.append(path)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        old = nbformat.writes(notebook)
        for cell in notebook.cells:
            for tag in {"badge", "install"} & set(cell.metadata.get("tags", [])):
                cell.source = generated(tag, path.name, new)
        if nbformat.writes(notebook) != old:
            nbformat.write(notebook, path)
            changed.append(path)
    return changed


if __name__ == "__main__":
    for file in rewrite(ROOT, sys.argv[1] if len(sys.argv) > 1 else repository()):
        print("rewrote", file.relative_to(ROOT))
