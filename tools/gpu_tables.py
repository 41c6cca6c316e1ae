"""Write the tables of what was measured on a GPU into the pages, from the records.

usage: python -m tools.gpu_tables
"""

import re
from pathlib import Path

from helpers import gpu_records

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "AppendixA.md")
MARKED = re.compile(r"(<!-- gpu (\w+) -->\n).*?(<!-- end of gpu \2 -->)", re.DOTALL)


def write(root: Path = ROOT) -> list[str]:
    """Put each table between its marks. Return the names of the pages that changed."""
    changed = []
    for name in PAGES:
        page = root / name
        old = page.read_text("utf-8")
        new = MARKED.sub(_marked, old)
        if new != old:
            page.write_text(new, "utf-8")
            changed.append(name)
    return changed


def _marked(found: re.Match[str]) -> str:
    table = getattr(gpu_records, found[2])()
    return f"{found[1]}\n{table}\n\n{found[3]}"


if __name__ == "__main__":
    print(", ".join(write()) or "nothing", "rewritten")
