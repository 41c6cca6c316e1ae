"""Cells of CSV files that `load_dataset` makes something else of than text."""

import re
from collections.abc import Mapping
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
        self._patterns: dict[str, set[re.Pattern[str]]] = {}  # that all cells of a column match

    def check(self, row: Mapping[str, Any], *, place: str) -> None:
        """Check the cells of a row."""
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
        for column, patterns in self._patterns.items():
            if patterns:
                kind = "numbers" if NUMBER in patterns else "truth values"
                found = f"load_dataset makes {kind} of the column {column!r}"
                where = f"it needs converters={{{column!r}: str}}"
                self._tally.state("reads-differently", where, found=found)
