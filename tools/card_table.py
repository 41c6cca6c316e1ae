"""Copy Chapter 5's table of cards, as its cell last printed it, into FAQ.md.

usage: python -m tools.card_table
"""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
TAG = "which-card"  # of the cell
TABLE = re.compile(r"(?<=<!-- cards -->\n).*?(?=<!-- end of cards -->)", re.DOTALL)


def table(root: Path = ROOT) -> str:
    """Return the output of the cell as a Markdown table."""
    notebook = nbformat.read(root / "notebooks" / "05_training.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", ())]
    (output,) = cell.outputs
    lines = output["data"]["text/plain"].splitlines()
    head, *rows = [re.split(r" {2,}", line.strip()) for line in lines]
    marks = [["model", *head], ["---"] * (len(head) + 1), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in marks)


def write(root: Path = ROOT) -> bool:
    """Put the table between its marks in FAQ.md. Return whether it changed."""
    page = root / "FAQ.md"
    old = page.read_text("utf-8")
    new, n = TABLE.subn(lambda _: f"\n{table(root)}\n", old)
    if n != 1:
        raise ValueError(f"{page.name} must hold the marks of the table of cards once, not {n}")
    page.write_text(new, "utf-8")
    return new != old


if __name__ == "__main__":
    print("rewrote FAQ.md" if write() else "FAQ.md is up to date")
