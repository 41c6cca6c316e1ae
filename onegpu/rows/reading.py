"""Rows of a file or of a data set on the hub, read one at a time.

Taught in: notebooks/04_formatting.ipynb
"""

import dataclasses
import functools
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

from onegpu.rows import hub
from onegpu.rows.json_files import TOO_DEEP, lines, values
from onegpu.rows.row import Row
from onegpu.rows.tables import cells, parquet

__all__ = ["KINDS", "is_file", "read", "readable", "scan"]

READERS = {
    **{".jsonl": lines, ".ndjson": lines, ".json": values},
    **{".csv": cells, ".tsv": functools.partial(cells, expected="\t")},
}
KINDS = f"{', '.join(READERS)} (each also with .gz), .parquet"  # for messages


def read(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and columns of each row of a file, holding one row in memory at a time.

    Args:
        path: A file that ends in `.jsonl` or `.ndjson` (one object a line), `.json` (an array of
            objects, or an object that contains them as pandas or an API writes it), `.csv` or
            `.tsv` (cells parted by tab, semicolon or comma, as in the header), each also with
            `.gz`, in UTF-8; one that ends in `.parquet`; or the name of a data set on the hub,
            such as `"dvgodoy/yoda_sentences"`, of which the split `train` is read.

    Yields:
        The row's number, from 1, and its columns.

    Raises:
        FileNotFoundError: There is no such file, or no such data set.
        ValueError: A folder, a file of another kind, or a row that cannot be read. The message
            names the file, the row, and what is wrong with it.

    Taught in: notebooks/04_formatting.ipynb
    """
    for row in readable(path):
        yield row.number, row.value


def readable(path: str | Path) -> Iterator[Row]:
    """Yield each row of a file with its place, up to the first that cannot be read.

    Args:
        path: See `read`.

    Yields:
        The rows.

    Raises:
        FileNotFoundError: See `read`.
        ValueError: See `read`.
    """
    for row in scan(path):
        if row.problem:
            raise ValueError(f"{path}, {row.place}: {row.problem}")
        yield row


def scan(path: str | Path) -> Iterator[Row]:
    """Yield each row of a file as `read` does, those that cannot be read too.

    Args:
        path: See `read`.

    Yields:
        The rows. After one that leaves the rest unreadable, such as a broken array, there is no
        further one.

    Raises:
        FileNotFoundError: There is no such file, or no such data set.
        ValueError: A folder, a file of another kind, or a data set that needs a configuration.
    """
    if not is_file(path):
        yield from hub.stream(str(path))
        return
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a file, or a hub name")
    if not _ending(path):
        raise ValueError(f"{path}: expected a file that ends in {KINDS}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file")
    if _ending(path) == ".parquet":
        yield from parquet(path)
        return
    number, unit = 0, "line"
    try:
        with _opened(path) as file:
            for row in _rows(file, _ending(path)):
                number, unit = row.number, row.unit
                problem = row.problem or _problem(row.value)
                yield dataclasses.replace(row, value={}, problem=problem) if problem else row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        yield Row(number + 1, {}, f"broken gzip ({error}): compress it again", unit)


def is_file(source: str | Path) -> bool:
    """Return whether a source is a file, there or not, and no name of the hub."""
    path = Path(source)
    return path.exists() or bool(_ending(path)) or not hub.is_name(str(source))


def _ending(path: Path) -> str:
    """Return what says how a file is read, without `.gz`; nothing where nothing does."""
    name = path.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    return ending if ending in READERS or name.endswith(".parquet") else ""


def _opened(path: Path) -> TextIO:
    # Bytes that are not UTF-8 become lone surrogates, so that we can name their row
    how = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", **how)
    return path.open(**how)


def _rows(file: TextIO, ending: str) -> Iterator[Row]:
    if file.read(2) in ("\udcff\udcfe", "\udcfe\udcff"):
        yield Row(1, {}, "the file is UTF-16, not UTF-8: save it as UTF-8")
        return
    file.seek(0)
    yield from READERS[ending](file)


def _problem(value: Any) -> str:
    """Return what is wrong with a row; nothing where nothing is."""

    def refuse(found: ValueError) -> NoReturn:
        raise found

    try:
        json.dumps(value, ensure_ascii=False, default=refuse).encode("utf-8")
    except UnicodeEncodeError as error:
        return _not_unicode(error.object, error.start)
    except ValueError as error:
        return str(error)
    except RecursionError:
        return TOO_DEEP
    if not isinstance(value, Mapping):
        return f"expected an object {{...}} with columns, got a {type(value).__name__}"
    return ""


def _not_unicode(text: str, at: int) -> str:
    """Return what is wrong with a character that is half of one, or no UTF-8."""
    before = text[max(0, at - 20) : at]
    if not "\udc80" <= text[at] <= "\udcff":  # not made by surrogateescape
        return f"half of a \\u pair after {before!r}: write both halves, or the character"
    try:
        after = text[at : at + 10].encode("utf-8", "surrogateescape").decode("cp1252")
    except UnicodeError:
        return f"not UTF-8 after {before!r}: save the file as UTF-8"
    return (
        f"not UTF-8 after {before!r}: read as cp1252, of Windows, it goes on {after!r}. If that is "
        "right, Path(new).write_text(Path(old).read_text('cp1252'), 'utf-8')"
    )
