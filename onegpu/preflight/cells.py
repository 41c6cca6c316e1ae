"""Cells of CSV files that `load_dataset` makes something else of than text."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onegpu.chat import trained_columns
from onegpu.preflight.findings import Tally

__all__ = ["Cells", "is_table"]

NULLS = {  # of pandas
    *("NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A", "NULL", "null", "None"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
}
NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*", re.IGNORECASE)
N_LINES, RARE = 2, 0.1  # of rows in one cell, and the share of the rows that have such a cell
DELIMITERS, N_SHAPE = ",;\t", 12  # characters of a number, a date or the name of a row
TRUTH = re.compile("true|false", re.IGNORECASE)


def is_table(source: Any) -> bool:
    """Return whether rows come from a CSV or TSV file."""
    name = str(source).lower() if isinstance(source, str | Path) else ""
    return name.removesuffix(".gz").endswith((".csv", ".tsv"))


class Cells:
    """Checks the cells that must be text, and adds what is wrong to a tally.

    Args:
        tally: Where findings go.
    """

    def __init__(self, tally: Tally):
        self._tally = tally
        self._swallowed: list[tuple[int, str, int]] = []  # row, place, lines
        self._shapes: list[str] = []  # of the first row
        self._n_rows = 0
        self._patterns: dict[str, set[re.Pattern[str]]] = {}  # that all cells of a column match

    def check(self, row: Mapping[str, Any], *, place: str) -> None:
        """Check the cells of a row."""
        self._n_rows += 1
        self._shapes = self._shapes or [_shape(value[:100]) for value in row.values()]
        for value in row.values():
            if "\n" in value and _holds_rows(value, self._shapes):
                self._swallowed.append((self._tally.n_rows, place, value.count("\n")))
        columns = trained_columns(row) or [c for c in ("prompt", "chosen", "rejected") if c in row]
        for column in columns:
            if row[column] in NULLS:
                detail = f"null for {row[column]!r}: it needs keep_default_na=False"
                self._tally.add("reads-differently", place, detail)
            patterns = self._patterns.setdefault(column, {NUMBER, TRUTH})
            for pattern in [p for p in patterns if not p.fullmatch(row[column])]:
                patterns.remove(pattern)

    def finish(self) -> None:
        """Add what only all rows together show."""
        if len(self._swallowed) <= RARE * self._n_rows:
            for number, place, n_lines in self._swallowed:
                detail = f"a cell holds {n_lines:,} further lines: close its quote before them"
                self._tally.add("unreadable", place, detail, row=number)
        for column, patterns in self._patterns.items():
            if patterns:
                kind = "numbers" if NUMBER in patterns else "truth values"
                found = f"load_dataset makes {kind} of the column {column!r}"
                where = f"it needs converters={{{column!r}: str}}"
                self._tally.state("reads-differently", where, found=found)


def _holds_rows(cell: str, shapes: Sequence[str]) -> bool:
    """Return whether the lines inside of a cell are rows of its table, by numbers and dates.

    The first line and the last one belong to the rows whose quotes are wrong.
    """
    numbered = [n for n, shape in enumerate(shapes) if "0" in shape and len(shape) < N_SHAPE]
    lines = cell.splitlines()[1:-1]
    if not numbered or len(lines) < N_LINES:
        return False
    for delimiter in DELIMITERS:
        rows = [line.split(delimiter) for line in lines]
        if all(len(row) == len(shapes) for row in rows):
            return any(all(_shape(row[n]) == shapes[n] for row in rows) for n in numbered)
    return False


def _shape(cell: str) -> str:
    """Return a cell with one digit for each number, and one letter for each word."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell.strip()))
