"""Data sets whose columns hold text: loaded, checked, and renamed.

Taught in: notebooks/00_tldr.ipynb
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu.rows.reading import is_file, readable

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

__all__ = ["load_texts"]


def load_texts(
    source: str | Path | Mapping[str, str | Path], *, columns: Mapping[str, str]
) -> "DatasetDict":
    """Load data in which some columns must hold text, such as pairs of question and answer.

    Args:
        source: A file that `rows.read` reads; files by the names of their splits; or the name of
            a data set on the hub, such as `"dvgodoy/yoda_sentences"`.
        columns: The columns that must hold text, each with the name that it is to get.

    Returns:
        The splits. A single file is one split, `"train"`. Other columns stay as they are; where a
        row lacks one that another row has, it is None.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: See `rows.read`; also a missing column, an empty or non-text cell. The message
            names file, row and column.

    Taught in: notebooks/00_tldr.ipynb
    """
    from datasets import DatasetDict, load_dataset

    if isinstance(source, Mapping):
        files = {name: Path(path) for name, path in source.items()}
    elif is_file(source):
        files = {"train": Path(source)}
    else:
        splits = load_dataset(str(source))
        for name, split in splits.items():
            for number, row in enumerate(split, start=1):
                _check(row, columns, f"{source}, split {name}, row {number}")
        return splits.rename_columns(dict(columns))
    splits = DatasetDict()
    for name, path in files.items():
        checked = []
        for row in readable(path):
            _check(row.value, columns, f"{path}, {row.place}")
            checked.append({columns.get(key, key): value for key, value in row.value.items()})
        if not checked:
            raise ValueError(f"{path} holds no rows")
        splits[name] = _dataset(path, checked)
    return splits


def _dataset(path: Path, rows: list[dict[str, Any]]) -> "Dataset":
    """Return rows with the columns of all of them: one that a row lacks is None there."""
    from datasets import Dataset

    names = dict.fromkeys(name for row in rows for name in row)
    table = {name: [row.get(name) for row in rows] for name in names}
    try:
        # As they are: without it, Arrow refuses 1 and "b2" in a column
        return Dataset.from_dict(table, on_mixed_types="use_json")
    except OverflowError as error:
        raise ValueError(f"{path} holds a number above 64 bits: put it in quotes") from error


def _check(row: Mapping[str, Any], columns: Mapping[str, str], where: str) -> None:
    for column in columns:
        if column not in row:
            raise ValueError(
                f"{where}: no column {column!r}, only {', '.join(map(repr, row))}; "
                "name the ones to take in columns={...}"
            )
        value = row[column]
        if not isinstance(value, str):
            raise ValueError(f"{where}, column {column!r}: expected text, got {value!r}")
        if not value.strip():
            raise ValueError(f"{where}, column {column!r}: the text is empty")
