"""One row of a file, as every reader yields it."""

import dataclasses
from typing import Any

__all__ = ["Row"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        number: Its line in a JSONL or CSV file, its place in JSON, Parquet or a data set; from 1.
        value: Its columns; empty where it could not be read.
        problem: Why it could not be read; empty where it could.
        differs: How `load_dataset` reads it differently, or what it needs; empty where it does not.
        unit: What `number` counts: `line`; `item` in JSON; `row` in Parquet and in a data set.
    """

    number: int
    value: dict[str, Any]
    problem: str = ""
    differs: str = ""
    unit: str = "line"

    @property
    def place(self) -> str:
        """Where it is in its file, such as `"line 3"` or, in a JSON array, `"item 3"`."""
        return f"{self.unit} {self.number}"
