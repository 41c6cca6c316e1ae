"""Write the table of versions into FAQ.md, from `requirements.txt` and `constraints.txt`.

usage: python -m tools.versions
"""

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TABLE = re.compile(r"(?<=<!-- versions -->\n).*?(?=<!-- end of versions -->)", re.DOTALL)


def pins(text: str) -> dict[str, str]:
    """Return the versions in the output of `pip freeze`, without local parts such as `+cpu`."""
    found = re.findall(r"^([\w.-]+)==([^\s+;]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def table(root: Path = ROOT) -> str:
    """Return the versions of what the notebooks import, as a Markdown table."""
    tested = pins((root / "constraints.txt").read_text("utf-8"))
    lines = (root / "requirements.txt").read_text("utf-8").splitlines()
    rows = [Requirement(line) for line in lines if line and not line.startswith("#")]
    head = "| package | tested | needed |\n|---|---|---|\n"
    return head + "".join(
        f"| `{row.name}` | {tested[canonicalize_name(row.name)]} | {row.specifier} |\n"
        for row in rows
    )


def write(root: Path = ROOT) -> bool:
    """Put the table between its marks in FAQ.md. Return whether it changed."""
    page = root / "FAQ.md"
    old = page.read_text("utf-8")
    new, n = TABLE.subn(lambda _: table(root), old)
    if n != 1:
        raise ValueError(f"{page.name} must hold the marks of the table of versions once, not {n}")
    page.write_text(new, "utf-8")
    return new != old


if __name__ == "__main__":
    print("rewrote FAQ.md" if write() else "FAQ.md is up to date")
