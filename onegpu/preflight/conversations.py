"""What is wrong with a row before it becomes tokens: columns, roles, contents."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.chat import is_conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["is_encodable", "problems", "prompt_differs"]

Problem = tuple[str, str]  # code and detail
MAX_CHARACTERS = 1_000_000
FORMATS = (("prompt", "completion"), ("messages",), ("text",))
ROLES = ("system", "developer", "user", "assistant", "tool")
BEFORE = {  # role: what may stand before it; None is the beginning
    "system": {None},
    "developer": {None},
    "user": {None, "system", "developer", "assistant"},
    "assistant": {"user", "tool"},
    "tool": {"assistant", "tool"},
}
NOT_ENCODABLE = {"unknown-columns", "not-text", "huge-cell"}


def is_encodable(found: list[Problem]) -> bool:
    """Return whether a row with these problems can be made tokens at all."""
    return not any(code in NOT_ENCODABLE for code, _ in found)


def problems(row: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a row, each as a code and a detail; a kind only once."""
    columns = next((f for f in FORMATS if all(row.get(c) is not None for c in f)), None)
    if columns is None:
        return [("unknown-columns", ", ".join(row) or "none")]
    found: dict[str, str] = {}
    turns: list[Mapping[str, Any]] = []
    for column in columns:
        value = row[column]
        if is_conversation(value):
            turns += value
        else:
            turns.append({"content": value})
    for code, detail in _contents(turns):
        found.setdefault(code, detail)
    if all(is_conversation(row[column]) for column in columns):
        for detail in _roles(turns):
            found.setdefault("wrong-roles", detail)
    return list(found.items())


def _contents(turns: list[Mapping[str, Any]]) -> Iterator[Problem]:
    for turn in turns:
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
    """Return whether the row begins otherwise than its prompt is written at inference."""
    if is_conversation(row.get("prompt")) and is_conversation(row.get("completion")):
        prompt, whole = row["prompt"], row["prompt"] + row["completion"]
    elif is_conversation(row.get("messages")):
        prompt, whole = row["messages"][:-1], row["messages"]
    else:
        return False
    options = {"tokenize": False, **(row.get("chat_template_kwargs") or {})}
    alone = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, **options)
    return not tokenizer.apply_chat_template(whole, **options).startswith(alone)
