"""Rows of JSON: one object a line, an array of them, or an object that contains them all."""

import collections
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from onegpu.rows.row import Row

__all__ = ["NO_ROWS", "TOO_DEEP", "lines", "unique", "values"]

CHUNK = 1_000_000  # characters read at a time
LONGEST = 100_000_000  # characters of one item: above that, a bracket was left open
CUT = 10  # a value cut off by the end of a chunk fails less than this many characters before it
SPACE = re.compile(r"[ \t\r\n]*")  # what JSON allows between values; str.strip() takes more
NO_ROWS = "expected an array [...] of objects, or objects one after another"
TOO_DEEP = "too many lists or objects inside one another"
COLUMNS = {  # an object with one of these is a row, whatever lists are in it
    *("messages", "prompt", "completion", "chosen", "rejected", "text"),
    *("conversations", "instruction", "input"),
}


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the columns of a row; one whose name is there twice holds an error."""
    value = dict(pairs)
    if len(value) < len(pairs):
        for name, count in collections.Counter(name for name, _ in pairs).items():
            if name and count > 1:  # a spreadsheet may leave several columns without a name
                value[name] = ValueError(f"{name!r} is there {count} times: rename or remove one")
    return value


def _integer(digits: str) -> int | ValueError:
    try:
        return int(digits)
    except ValueError:  # Python converts no more than 4,300 digits
        return ValueError(f"an integer of {len(digits):,} digits: put it in quotes")


# The errors are put into the row for `scan` to find. Raised at once, they would hide where the
# next row of an array begins
HOOKS = {"parse_int": _integer, "object_pairs_hook": unique}


def lines(file: TextIO) -> Iterator[Row]:
    """Yield the rows of a file of one object a line, or of a JSON file under that name."""
    first = next((line for line in file if not SPACE.fullmatch(line)), "")
    file.seek(0)
    if first.startswith("[") or first.strip() == "{":  # an array, or objects over several lines
        yield from values(file)
        return
    for number, line in enumerate(file, start=1):
        if not SPACE.fullmatch(line):
            try:
                yield Row(number, json.loads(line.rstrip("\r\n"), **HOOKS))
            except json.JSONDecodeError as error:
                yield Row(number, {}, f"broken JSON at column {error.colno} ({error.msg})")
            except RecursionError:
                yield Row(number, {}, TOO_DEEP)


def values(file: TextIO) -> Iterator[Row]:
    """Yield the rows of a JSON file, up to the first place where it is broken."""
    number = 0
    try:
        for number, (value, differs) in enumerate(_values(_Text(file)), start=1):
            yield Row(number, value, differs=differs, unit="item")
    except ValueError as error:
        yield Row(number + 1, {}, str(error), unit="item")


class _Text:
    """The text of a file as far as it has been read, decoded up to the position `at`."""

    def __init__(self, file: TextIO):
        self.file, self.text, self.at = file, "", 0
        self.decoder = json.JSONDecoder(**HOOKS)

    def more(self) -> bool:
        """Read on, cutting off what is done; return whether there was more."""
        n_left = len(self.text) - self.at
        if n_left > LONGEST:
            raise ValueError(
                f"over {LONGEST:,} characters long: is a bracket left open? If all rows are in "
                "one object, save one row a line, as .jsonl"
            )
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


# Yields of each row how `load_dataset` reads it differently, too
def _values(text: _Text) -> Iterator[tuple[Any, str]]:
    """Yield the rows of arrays or objects, of which several may follow one another."""
    mark = text.peek()
    if mark == "[":
        differs = ""
        while text.peek() == mark:
            yield from ((value, differs) for value in _array(text))
            differs = "it refuses a second array"
    elif mark == "{":
        first = text.value()
        if text.peek():
            yield first, ""
        else:
            yield from _contained(first)
        while text.peek() == mark:
            yield text.value(), ""
    else:
        raise ValueError(NO_ROWS)
    if text.peek():
        raise text.broken(f"the {'array' if mark == '[' else 'object'} ended before it")


def _array(text: _Text) -> Iterator[Any]:
    text.at += 1
    mark = text.peek()
    while mark != "]":
        yield text.value()
        mark = text.peek()
        if mark == ",":
            text.at += 1
        elif mark != "]":
            raise text.broken("expected ',' or ']' before it")
    text.at += 1


def _contained(value: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield the rows in the only object of a file: those it contains, or itself."""
    cells = list(value.values())
    in_columns = "it makes one row of all"
    lists = [name for name, cell in value.items() if _are_objects(cell)]
    if _are_numbered(cells):  # pandas' to_json(): {"prompt": {"0": ..., "1": ...}, ...}
        for key in cells[0]:
            yield {name: column[key] for name, column in value.items()}, in_columns
    elif value and all(name.isdecimal() for name in value):  # to_json(orient="index")
        yield from ((cell, in_columns) for cell in cells)
    elif _are_columns(cells):  # {"prompt": [..., ...], "completion": [..., ...]}
        for row in zip(*cells, strict=True):
            yield dict(zip(value, row, strict=True)), in_columns
    elif not lists or COLUMNS & value.keys():
        yield value, ""
    elif len(lists) > 1:
        raise ValueError(f"several lists of rows ({', '.join(lists)}): save each as its own file")
    else:  # {"version": 1, "data": [{...}, {...}]}
        yield from ((cell, f"it needs field={lists[0]!r}") for cell in value[lists[0]])


def _are_numbered(cells: list[Any]) -> bool:
    """Return whether all cells are objects that number the rows alike."""
    return (
        bool(cells)
        and all(isinstance(cell, Mapping) and cell.keys() == cells[0].keys() for cell in cells)
        and bool(cells[0])
        and all(key.isdecimal() for key in cells[0])
    )


def _are_columns(cells: list[Any]) -> bool:
    """Return whether all cells are lists of one length, and none is a list of objects."""
    return (
        bool(cells)
        and all(isinstance(cell, list) and len(cell) == len(cells[0]) for cell in cells)
        and bool(cells[0])
        and not any(isinstance(item, Mapping) for cell in cells for item in cell)
    )


def _are_objects(cell: Any) -> bool:
    """Return whether a cell is a list of objects that are not the messages of one row."""
    return (
        isinstance(cell, list)
        and bool(cell)
        and all(isinstance(item, Mapping) for item in cell)
        and not {"role", "from"} & cell[0].keys()
    )
