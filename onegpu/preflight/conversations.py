"""What is wrong with a row before it becomes tokens: columns, roles, contents."""

import contextlib
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from onegpu.chat import is_conversation, trained_columns
from onegpu.rows import from_alpaca, from_encoded, from_pair, from_sharegpt

__all__ = ["Problem", "as_trl_reads", "converted", "is_encodable", "is_in_turns", "problems"]

Problem = tuple[str, str]  # code and detail
MAX_CHARACTERS = 1_000_000
ROLES = ("system", "developer", "user", "assistant", "tool")
BEFORE = {  # role: what may come before it; None is the beginning
    "system": {None},
    "developer": {None},
    "user": {None, "system", "developer", "assistant"},
    "assistant": {None, "system", "developer", "user", "tool"},
    "tool": {"assistant", "tool"},
}
# Marks of other programs; trl reads none of them
NOT_LEARNED = {"weight": 0, "train": 0, "loss": 0, "loss_mask": 0, "masked": 1}
ASKED = ("instruction", "question", "prompt", "query", "input")  # columns that trl does not read
SAID = ("output", "answer", "response")
SYSTEM_COLUMNS = ("system", "system_prompt")
NOT_ENCODABLE = {
    "unknown-columns",
    "messages-as-text",
    "mixed-formats",
    "unreadable",
    "not-text",
    "huge-cell",
    "unknown-roles",
    "template-refuses",
    "left-out",
    "arguments-as-text",
}


def as_trl_reads(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row of ShareGPT as trl reads it: other keys, the same roles; others as they are."""
    turns = row.get("conversations")
    if not is_conversation(turns) or not {"from", "value"} <= set(turns[0]):
        return row
    names = {"from": "role", "value": "content"}
    read = {key: value for key, value in row.items() if key != "conversations"}
    read["messages"] = [
        {names.get(key, key): value for key, value in turn.items()}
        if isinstance(turn, Mapping)
        else turn
        for turn in turns
    ]
    return read


def converted(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a row that can't be turned into tokens as one whose texts can be checked anyway.

    Args:
        row: As it is in the data.

    Returns:
        The row itself, where it is the template that leaves something out; what a converter of
        `onegpu.rows` makes of other formats; None where the contents can't be read.
    """
    found = row if trained_columns(row) else _converted(row)
    return found if found and is_encodable(problems(found)) else None


def _converted(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a row of another format as messages; None where no converter takes it."""
    asked = next((column for column in ASKED if column in row), ASKED[0])
    said = next((column for column in SAID if column in row), SAID[0])
    try:
        if is_conversation(row.get("conversations")):
            return from_sharegpt(row)
        if (asked, said) == ("instruction", "output"):
            return from_alpaca(row)
        return from_pair(row, question=asked, answer=said)
    except ValueError:
        return None


def is_encodable(found: list[Problem]) -> bool:
    """Return whether a row with these problems can be turned into tokens that are worth a look."""
    return not any(code in NOT_ENCODABLE for code, _ in found)


def is_in_turns(found: list[Problem]) -> bool:
    """Return whether the turns of a row with these problems are as a template expects them."""
    return not any(code in ("wrong-roles", "empty-turn") for code, _ in found)


def problems(row: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a row, each as a code and a detail; a kind only once."""
    columns = trained_columns(row)
    if not columns and _holds_messages_as_text(row.get("conversations")):
        return [("messages-as-text", "conversations")]
    if not columns and "preferred_output" in row:
        return [("unknown-columns", "of OpenAI: onegpu.rows.from_openai makes pairs of them")]
    if not columns:
        return [("unknown-columns", ", ".join(map(str, row)) or "none")]
    of_format = _format(row, columns)
    if of_format:
        return [of_format]
    found: dict[str, str] = {}
    for code, detail in (*_cells(row, columns), *_reserved(row)):
        found.setdefault(code, detail)
    return list(found.items())


def _reserved(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Look for columns of the user's whose names mean something to trl."""
    for column in ("image", "images"):
        if isinstance(row.get(column), str):
            yield "reserved-column", f"{column} holds a string, and trl takes the rows for pictures"
    if "labels" in row and "input_ids" not in row:
        yield "reserved-column", "trl takes labels for those of tokens, which it makes itself"


def _format(row: Mapping[str, Any], columns: tuple[str, ...]) -> Problem | None:
    """Return which column holds something else than its name says, if one does."""
    with_messages = [column for column in columns if is_conversation(row[column])]
    without = [column for column in columns if column not in with_messages]
    for column in without:
        if _holds_messages_as_text(row[column]):
            return "messages-as-text", column
    if "messages" in without:
        return "unknown-columns", "messages holds no list of messages"
    if "text" in with_messages:
        return "unknown-columns", "text holds a list of messages"
    if with_messages and without:
        return "mixed-formats", f"{with_messages[0]} holds messages, {without[0]} does not"
    return None


def _holds_messages_as_text(value: Any) -> bool:
    """Return whether a cell is JSON, or Python's repr, of a list of messages."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return False
    with contextlib.suppress(ValueError):
        turns = from_encoded({"cell": value}, columns=("cell",))["cell"]
        return is_conversation(turns) and bool({"role", "from"} & set(turns[0]))
    return False


def _cells(row: Mapping[str, Any], columns: tuple[str, ...]) -> Iterator[Problem]:
    if not is_conversation(row[columns[0]]):
        for column in columns:
            yield from _content(row[column], column)
        if "prompt" in columns:
            yield from _system(row)
        return
    turns = [turn for column in columns for turn in row[column]]
    not_mappings = [turn for turn in turns if not isinstance(turn, Mapping)]
    if not_mappings:
        yield "not-text", f"{type(not_mappings[0]).__name__} in place of a message"
        return
    for turn in turns:
        yield from _turn(turn)
    if turns[0].get("role") not in ("system", "developer"):
        yield from _system(row)
    yield from _weights(row[columns[-1]])
    roles = [turn.get("role") for turn in turns]
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        yield "unknown-roles", repr(unknown[0])[:40]
        return
    yield from _order(roles)


def _turn(turn: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the content of a message. What fidelity compares, null and parts, may be right."""
    content, role = turn.get("content"), str(turn.get("role"))
    may_be_empty = bool(turn.get("tool_calls") or turn.get("function_call")) or role == "tool"
    if content is None and may_be_empty:
        return
    if not isinstance(content, list):
        for code, detail in _content(content, role):
            if code != "empty-turn" or not may_be_empty:
                yield code, detail
        return
    for part in content:
        if not isinstance(part, Mapping):
            yield "not-text", f"{type(part).__name__} in the list of {role}"
        elif part.get("type") == "text":
            for code, detail in _content(part.get("text"), role):
                if code != "empty-turn":
                    yield code, detail
    if not content and not may_be_empty:
        yield "empty-turn", role


def _content(content: Any, name: str) -> Iterator[Problem]:
    if not isinstance(content, str):
        yield "not-text", f"{type(content).__name__} in {name}"
    elif len(content) > MAX_CHARACTERS:
        yield "huge-cell", f"{len(content):,} characters"
    elif not _has_something_to_see(content):
        yield "empty-turn", name
    elif not _is_unicode(content):
        yield "unreadable", f"half of a \\u pair in {name}: write both halves, or the character"


def _has_something_to_see(text: str) -> bool:
    """Return whether a text holds more than white space, and characters of no width."""
    return any(not (c.isspace() or unicodedata.category(c) == "Cf") for c in text)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _order(roles: list[str]) -> Iterator[Problem]:
    before = None
    for role in roles:
        if before not in BEFORE[role]:
            yield "wrong-roles", f"{role} after {before}" if before else f"{role} first"
        before = role
    if before != "assistant":
        yield "wrong-roles", f"{before} last"
    elif "user" not in roles:
        yield "wrong-roles", "no user"


def _system(row: Mapping[str, Any]) -> Iterator[Problem]:
    for column in SYSTEM_COLUMNS:
        if isinstance(row.get(column), str) and row[column].strip():
            yield "system-ignored", f"column {column}"


def _weights(learned: list[Mapping[str, Any]]) -> Iterator[Problem]:
    """Look for answers that other programs would not learn."""
    for turn in learned:
        for key, value in NOT_LEARNED.items():
            marked = turn.get(key) is not None and turn[key] == value
            if marked and turn.get("role") == "assistant":
                yield "weight-ignored", f"{key}: {turn[key]}"
