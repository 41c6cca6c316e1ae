"""Cells of a row that must hold what a converter needs."""

from collections.abc import Mapping
from typing import Any

__all__ = ["messages_of", "require", "text_of"]


def require(row: Mapping[str, Any], *columns: str) -> None:
    """Raise a ValueError that names the columns which a row lacks, if there are any."""
    missing = [column for column in columns if column not in row]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}: this row has {', '.join(row) or 'none'}")


def text_of(row: Mapping[str, Any], column: str) -> str:
    """Return a cell that must hold text, or raise a ValueError."""
    require(row, column)
    if not isinstance(row[column], str):
        raise ValueError(
            f"column {column!r}: expected text, got {row[column]!r:.80}; make it text with str(), "
            "or leave the row out"
        )
    return row[column]


def messages_of(row: Mapping[str, Any], column: str, *keys: str) -> list[Mapping[str, Any]]:
    """Return a cell that must hold a list of objects with some keys, or raise a ValueError."""
    require(row, column)
    if isinstance(row[column], str):
        raise ValueError(f"column {column!r}: expected a list, got text; from_encoded decodes it")
    if not isinstance(row[column], list):
        raise ValueError(f"column {column!r}: expected a list, got {row[column]!r:.80}")
    for turn in row[column]:
        if not isinstance(turn, Mapping):
            raise ValueError(f"column {column!r}: expected objects, got {turn!r:.80}")
        require(turn, *keys)
    return row[column]
