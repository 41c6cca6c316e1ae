"""Rows of your own data: read from a file one at a time, and made into conversations.

Taught in: notebooks/04_formatting.ipynb
"""

import csv
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

__all__ = ["Row", "from_alpaca", "from_pair", "from_sharegpt", "read", "scan"]

CHUNK = 1_000_000  # characters read at a time from a JSON array
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        number: Its line in a JSONL or CSV file, its place in a JSON array; from 1.
        value: Its columns; empty where it could not be read.
        problem: Why it could not be read; empty where it could.
    """

    number: int
    value: dict[str, Any]
    problem: str = ""


def read(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and columns of each row of a file, holding one row in memory at a time.

    Args:
        path: A file that ends in `.jsonl`, `.json` (an array of objects) or `.csv`, in UTF-8.

    Yields:
        The row's number, from 1, and its columns.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file of another kind, or a row that cannot be read. The message names the
            file, the row, and what is wrong with it.

    Taught in: notebooks/04_formatting.ipynb
    """
    for row in scan(path):
        if row.problem:
            raise ValueError(f"{path}, line {row.number}: {row.problem}")
        yield row.number, row.value


def scan(path: str | Path) -> Iterator[Row]:
    """Yield each row of a file as `read` does, those that cannot be read too.

    Args:
        path: See `read`.

    Yields:
        The rows. After one that leaves the rest unreadable, such as a broken array, there is no
        further one.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file of another kind.
    """
    path = Path(path)
    readers = {".jsonl": _lines, ".json": _array, ".csv": _table}
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a file, or a hub name")
    if path.suffix not in readers:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(readers)}")
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            yield Row(1, {}, "the file is UTF-16, not UTF-8: save it as UTF-8")
            return
    # What is no UTF-8 becomes a lone surrogate, so that its row can be named
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for row in readers[path.suffix](file):
            yield row if row.problem else _checked(row)


def _checked(row: Row) -> Row:
    """Return the row, or what is wrong with it."""
    if not isinstance(row.value, Mapping):
        kind = type(row.value).__name__
        return Row(row.number, {}, f"expected an object {{...}} with columns, got a {kind}")
    try:
        json.dumps(row.value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        before = error.object[max(0, error.start - 20) : error.start]
        return Row(row.number, {}, f"not UTF-8 after {before!r}: save the file as UTF-8")
    return row


def _lines(file: TextIO) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield Row(number, json.loads(line.rstrip("\r\n")))
            except json.JSONDecodeError as error:
                yield Row(number, {}, f"broken JSON at column {error.colno} ({error.msg})")


def _array(file: TextIO) -> Iterator[Row]:
    decoder, text, number = json.JSONDecoder(), file.read(CHUNK).lstrip(), 0
    if not text.startswith("["):
        yield Row(1, {}, "expected an array [...] of objects; one object a line is .jsonl")
        return
    text = text[1:]
    while True:
        text = text.lstrip().removeprefix(",").lstrip()
        if text.startswith("]"):
            return
        try:
            value, end = decoder.raw_decode(text)
        except json.JSONDecodeError as error:
            if more := file.read(max(CHUNK, len(text))):
                text += more
                continue
            yield Row(number + 1, {}, f"broken JSON ({error.msg})")
            return
        number, text = number + 1, text[end:]
        yield Row(number, value)


def _table(file: TextIO) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # its default refuses cells above 131,072 characters
    reader = csv.DictReader(file)
    for value in reader:
        extra = value.pop(None, None)
        missing = [name for name, cell in value.items() if cell is None]
        problem = ""
        if extra or missing:
            n = len(value) + len(extra or []) - len(missing)
            problem = f"{n} cells for {len(value)} columns: put cells that hold a comma in quotes"
        yield Row(reader.line_num, {} if problem else value, problem)


def from_pair(
    row: Mapping[str, Any], *, question: str = "question", answer: str = "answer"
) -> dict[str, Any]:
    """Make a question and its answer a prompt and a completion.

    Args:
        row: Any row with two text columns.
        question: The column that holds what goes in.
        answer: The column that holds what should come out.

    Returns:
        `prompt` and `completion`, a conversation of one message each.

    Raises:
        ValueError: A column is missing.

    Example:
        >>> from_pair({"question": "2 + 2?", "answer": "4"})["completion"]
        [{'role': 'assistant', 'content': '4'}]

    Taught in: notebooks/04_formatting.ipynb
    """
    _need(row, question, answer)
    return {
        "prompt": [{"role": "user", "content": row[question]}],
        "completion": [{"role": "assistant", "content": row[answer]}],
    }


def from_alpaca(row: Mapping[str, Any]) -> dict[str, Any]:
    r"""Make an Alpaca row a prompt and a completion.

    Args:
        row: `instruction`, `output`, and perhaps `input`, which follows the instruction after an
            empty line.

    Returns:
        `prompt` and `completion`, a conversation of one message each.

    Raises:
        ValueError: A column is missing.

    Example:
        >>> row = {"instruction": "Translate.", "input": "hello", "output": "bonjour"}
        >>> from_alpaca(row)["prompt"][0]["content"]
        'Translate.\n\nhello'

    Taught in: notebooks/04_formatting.ipynb
    Source: Taori et al. 2023, https://github.com/tatsu-lab/stanford_alpaca
    """
    _need(row, "instruction", "output")
    question = "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)
    return from_pair({"question": question, "answer": row["output"]})


def from_sharegpt(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make a ShareGPT row a list of messages.

    Args:
        row: `conversations`, a list of `from` (`human`, `gpt`, `system`, ...) and `value`, and
            perhaps `system`.

    Returns:
        `messages`, a list of `role` and `content`.

    Raises:
        ValueError: A column is missing.

    Example:
        >>> from_sharegpt({"conversations": [{"from": "human", "value": "Hello!"}]})["messages"]
        [{'role': 'user', 'content': 'Hello!'}]

    Taught in: notebooks/04_formatting.ipynb
    """
    _need(row, "conversations")
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    turns = []
    for turn in row["conversations"]:
        _need(turn, "from", "value")
        role = SHAREGPT_ROLES.get(turn["from"], turn["from"])
        turns.append({"role": role, "content": turn["value"]})
    return {"messages": system + turns}


def _need(row: Mapping[str, Any], *columns: str) -> None:
    missing = [column for column in columns if column not in row]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}: this row has {', '.join(row)}")
