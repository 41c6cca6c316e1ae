"""What is wrong with a row before it becomes tokens: columns, roles, contents."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.chat import is_conversation, template_options, trained_columns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["is_encodable", "problems", "prompt_differs"]

Problem = tuple[str, str]  # code and detail
MAX_CHARACTERS = 1_000_000
ROLES = ("system", "developer", "user", "assistant", "tool")
BEFORE = {  # role: what may come before it; None is the beginning
    "system": {None},
    "developer": {None},
    "user": {None, "system", "developer", "assistant"},
    "assistant": {"user", "tool"},
    "tool": {"assistant", "tool"},
}
NOT_ENCODABLE = {"unknown-columns", "not-text", "huge-cell"}


def is_encodable(found: list[Problem]) -> bool:
    """Return whether a row with these problems can be turned into tokens at all."""
    return not any(code in NOT_ENCODABLE for code, _ in found)


def problems(row: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a row, each as a code and a detail; a kind only once."""
    columns = trained_columns(row)
    if not columns:
        return [("unknown-columns", ", ".join(row) or "none")]
    other_kind = _other_kind(row, columns)
    if other_kind:
        return [("unknown-columns", other_kind)]
    found: dict[str, str] = {}
    turns: list[Any] = []
    for column in columns:
        value = row[column]
        if is_conversation(value):
            turns += value
        else:
            turns.append({"content": value})
    for code, detail in _contents(turns):
        found.setdefault(code, detail)
    if is_conversation(row[columns[0]]) and all(isinstance(turn, Mapping) for turn in turns):
        for detail in _roles(turns):
            found.setdefault("wrong-roles", detail)
    return list(found.items())


def _other_kind(row: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    """Return which column holds something else than its name says, if one does."""
    with_messages = [column for column in columns if is_conversation(row[column])]
    without = [column for column in columns if column not in with_messages]
    if "messages" in without:
        return "messages holds no list of messages"
    if "text" in with_messages:
        return "text holds a list of messages"
    if with_messages and without:
        return f"{with_messages[0]} holds a list of messages, {without[0]} does not"
    return ""


def _contents(turns: list[Any]) -> Iterator[Problem]:
    for turn in turns:
        if not isinstance(turn, Mapping):
            yield "not-text", type(turn).__name__
            continue
        content = turn.get("content")
        if content is None and turn.get("tool_calls"):
            continue
        if not isinstance(content, str):
            yield "not-text", type(content).__name__
        elif len(content) > MAX_CHARACTERS:
            yield "huge-cell", f"{len(content):,} characters"
        elif not content.strip() and not turn.get("tool_calls"):
            yield "empty-turn", turn.get("role", "text")


def _roles(turns: list[Mapping[str, Any]]) -> Iterator[str]:
    before = None
    for turn in turns:
        role = turn.get("role")
        if role not in ROLES:
            yield f"role {role!r}"
            return
        if before not in BEFORE[role]:
            yield f"{role} after {before}" if before else f"{role} first"
        before = role
    if before != "assistant":
        yield f"{before} last"


def prompt_differs(tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any]) -> bool:
    """Return whether a row begins differently from its prompt at inference."""
    columns = trained_columns(row)
    if not columns or not is_conversation(row[columns[0]]):
        return False
    if columns == ("messages",):
        prompt, whole = row["messages"][:-1], row["messages"]
    else:
        prompt, whole = row["prompt"], row["prompt"] + row["completion"]
    options = {"tokenize": False, **template_options(row)}
    alone = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, **options)
    return not tokenizer.apply_chat_template(whole, **options).startswith(alone)
