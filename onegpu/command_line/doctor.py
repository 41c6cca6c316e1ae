"""The command `doctor`."""

import argparse

from onegpu import doctor

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]

HELP = "show what this machine can do, what is missing on it, and what fixes that"
EXAMPLE = """\
example: before you report a problem, and paste what it prints
  onegpu doctor

Lines that begin with `note` are no problem: they name what only some commands need. The exit code
is 1 if there is a line that begins with PROBLEM.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


def run(options: argparse.Namespace) -> int:
    """Print what was examined, and return 1 if a row of it is a problem."""
    examine = options.examine or doctor.examine
    rows = examine()
    width = max(len(row.name) for row in rows)
    for row in rows:
        mark = "PROBLEM"
        if row.ok:
            mark = "note" if row.fix else "ok"
        print(f"{mark:7} {row.name:{width}}  {row.found}")
        if row.fix:
            print(f"{'':8}{'':{width}}  fix: {row.fix}")
    return 0 if all(row.ok for row in rows) else 1
