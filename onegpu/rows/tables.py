"""Rows of tables: CSV, TSV and Parquet."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from onegpu.rows.json_files import unique
from onegpu.rows.row import Row

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Features

__all__ = ["cells", "parquet"]

DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma"}  # looked for in this order
LONGEST = 2**31 - 1  # characters of a cell; Windows takes no higher limit
N_TOGETHER = 1_000  # rows of Parquet that are decoded at a time


def cells(file: TextIO, *, expected: str = ",") -> Iterator[Row]:
    """Yield the rows of a table whose cells are parted as those of its header are.

    Args:
        file: Opened at its beginning.
        expected: What parts the cells where a file of its name is as others are.

    Yields:
        The rows.
    """
    header = next((line for line in file if line.strip("\r\n")), "")
    file.seek(0)
    delimiter = _delimiter(header)
    differs = "" if delimiter == expected else f"it needs sep={delimiter!r}"
    reader, names = csv.reader(file, delimiter=delimiter, strict=True), []
    while True:
        start = reader.line_num + 1
        try:
            found = _next(reader)
        except csv.Error as error:
            lost = f" up to line {reader.line_num}" if reader.line_num > start else ""
            fix = 'close each quote; one inside quotes is written ""'
            yield Row(start, {}, f"broken quotes ({error}){lost}: {fix}")
            if names:
                continue
            return
        if found is None:
            return
        if not names:
            names = found
        elif found == names and len(names) > 1:
            yield Row(reader.line_num, {}, "the header again, of another file: remove this line")
        elif len(found) == len(names):
            value = unique(list(zip(names, found, strict=True)))
            yield Row(reader.line_num, value, differs=differs)
        elif found:  # not an empty line
            counts = f"{len(found)} cells for {len(names)} columns"
            fix = f"put cells that hold a {DELIMITERS[delimiter]} in quotes"
            yield Row(reader.line_num, {}, f"{counts}: {fix}")


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    """Return the next row, however long its cells are: csv's limit is one for the whole process."""
    before = csv.field_size_limit(LONGEST)
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(before)


def _delimiter(header: str) -> str:
    unquoted = re.sub('"[^"]*"', "", header)
    return next((mark for mark in DELIMITERS if mark in unquoted), ",")


def parquet(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, of which one group is in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            features = _features(file.schema_arrow)
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=N_TOGETHER, row_groups=[group]):
                    for value in batch.to_pylist():
                        number += 1
                        value = features.decode_example(value) if features else value
                        yield Row(number, value, unit="row")
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Row(number + 1, {}, f"broken Parquet ({error}): save it again", unit="row")


def _features(schema: "pa.Schema") -> "Features | None":
    """Return what decodes the cells that `datasets` wrote as JSON, if there are any."""
    if b'"Json"' not in (schema.metadata or {}).get(b"huggingface", b""):
        return None
    from datasets import Features

    return Features.from_arrow_schema(schema)
