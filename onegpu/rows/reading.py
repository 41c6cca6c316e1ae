"""Rows of a file: JSONL, JSON or CSV, read one at a time.

Taught in: notebooks/04_formatting.ipynb
"""

import collections
import csv
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

__all__ = ["Row", "read", "readable", "scan"]

CHUNK = 1_000_000  # characters read at a time from a JSON array
LONGEST = 100_000_000  # characters of one item: above that, a bracket was left open
CUT = 10  # a value cut off by the end of a chunk fails less than this many characters before it
SPACE = re.compile(r"[ \t\r\n]*")  # what JSON allows between values; str.strip() takes more
TOO_DEEP = "too many lists or objects inside one another"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        number: Its line in a JSONL or CSV file, its place in a JSON array; from 1.
        value: Its columns; empty where it could not be read.
        problem: Why it could not be read; empty where it could.
        unit: What `number` counts: `line`, or `item` in a JSON array.
    """

    number: int
    value: dict[str, Any]
    problem: str = ""
    unit: str = "line"

    @property
    def place(self) -> str:
        """Where it is in its file, such as `"line 3"` or, in a JSON array, `"item 3"`."""
        return f"{self.unit} {self.number}"


def read(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and columns of each row of a file, holding one row in memory at a time.

    Args:
        path: A file that ends in `.jsonl`, `.json` (an array of objects) or `.csv`, in UTF-8.

    Yields:
        The row's number, from 1, and its columns.

    Raises:
        FileNotFoundError: There is no such file.
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
        FileNotFoundError: There is no such file.
        ValueError: A folder, or a file of another kind.
    """
    path = Path(path)
    readers = {".jsonl": _lines, ".json": _array, ".csv": _table}
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a file, or a hub name")
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(readers)}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file")
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            yield Row(1, {}, "the file is UTF-16, not UTF-8: save it as UTF-8")
            return
    # Bytes that are not UTF-8 become lone surrogates, so that we can name their row
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for row in readers[path.suffix.lower()](file):
            problem = row.problem or _problem(row.value)
            yield dataclasses.replace(row, value={}, problem=problem) if problem else row


def _integer(digits: str) -> int | ValueError:
    try:
        return int(digits)
    except ValueError:  # Python converts no more than 4,300 digits
        return ValueError(f"an integer of {len(digits):,} digits: put it in quotes")


def _columns(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        for name, count in collections.Counter(name for name, _ in pairs).items():
            if name and count > 1:  # a spreadsheet may leave several columns without a name
                value[name] = ValueError(f"{name!r} is there {count} times: rename or remove one")
    return value


# The errors are put into the row for `_problem` to find. Raised at once, they would hide where
# the next row of an array begins
HOOKS = {"parse_int": _integer, "object_pairs_hook": _columns}


def _problem(value: Any) -> str:
    """Return what is wrong with a row; nothing where nothing is."""

    def refuse(found: ValueError) -> NoReturn:
        raise found

    try:
        json.dumps(value, ensure_ascii=False, default=refuse).encode("utf-8")
    except UnicodeEncodeError as error:
        before = error.object[max(0, error.start - 20) : error.start]
        if "\udc80" <= error.object[error.start] <= "\udcff":  # made by surrogateescape
            return f"not UTF-8 after {before!r}: save the file as UTF-8"
        return f"half of a \\u pair after {before!r}: write both halves, or the character"
    except ValueError as error:
        return str(error)
    except RecursionError:
        return TOO_DEEP
    if not isinstance(value, Mapping):
        return f"expected an object {{...}} with columns, got a {type(value).__name__}"
    return ""


def _lines(file: TextIO) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if not SPACE.fullmatch(line):
            try:
                yield Row(number, json.loads(line.rstrip("\r\n"), **HOOKS))
            except json.JSONDecodeError as error:
                yield Row(number, {}, f"broken JSON at column {error.colno} ({error.msg})")
            except RecursionError:
                yield Row(number, {}, TOO_DEEP)


class _Text:
    """The text of an array as far as it has been read, decoded up to the position `at`."""

    def __init__(self, file: TextIO):
        self.file, self.text, self.at = file, "", 0
        self.decoder = json.JSONDecoder(**HOOKS)

    def more(self) -> bool:
        """Read on, cutting off what is done; return whether there was more."""
        n_left = len(self.text) - self.at
        if n_left > LONGEST:
            raise ValueError(f"over {LONGEST:,} characters long: is a bracket left open?")
        new = self.file.read(max(CHUNK, n_left))  # doubles: a long item is decoded again each time
        if new:
            self.text, self.at = self.text[self.at :] + new, 0
        return bool(new)

    def peek(self) -> str:
        """Skip white space and return the character after it, nothing at the end of the file."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def value(self) -> Any:
        """Decode the next value."""
        self.peek()
        while True:
            value, why = None, ""
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated string")  # its position is the start
                end, why = len(self.text) if is_open else error.pos, error.msg
            except RecursionError:
                raise ValueError(TOO_DEEP) from None
            if len(self.text) - end >= CUT or not self.more():
                break  # it ends here, and not where the chunk does: 12|34, nu|ll
        self.at = end
        if why:
            raise self.broken(why)
        return value

    def broken(self, why: str) -> ValueError:
        found = self.text[self.at : self.at + 1] or "end of file"
        return ValueError(f"broken JSON at {found!r} ({why})")


def _array(file: TextIO) -> Iterator[Row]:
    text, number = _Text(file), 0
    if text.peek() != "[":
        yield Row(1, {}, "expected an array [...] of objects; one object a line is .jsonl")
        return
    try:
        text.at += 1
        mark = text.peek()
        while mark != "]":
            value = text.value()
            number += 1
            yield Row(number, value, unit="item")
            mark = text.peek()
            if mark == ",":
                text.at += 1
            elif mark != "]":
                raise text.broken("expected ',' or ']' before it")
        text.at += 1
        if text.peek():
            raise text.broken("the array ended before it")
    except ValueError as error:
        yield Row(number + 1, {}, str(error), unit="item")


def _table(file: TextIO) -> Iterator[Row]:
    # The default refuses cells above 131,072 characters; Windows refuses a limit above this one
    csv.field_size_limit(2**31 - 1)
    reader, names = csv.reader(file, strict=True), []
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(start, {}, f'broken quotes ({error}): a quote inside quotes is written ""')
            if names:
                continue
            return
        if cells is None:
            return
        if not names:
            names = cells
        elif len(cells) == len(names):
            yield Row(reader.line_num, _columns(list(zip(names, cells, strict=True))))
        elif cells:  # not an empty line
            counts = f"{len(cells)} cells for {len(names)} columns"
            yield Row(reader.line_num, {}, f"{counts}: put cells that hold a comma in quotes")
