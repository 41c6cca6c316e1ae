"""What a row says against what the model sees of it, once the chat template has written it."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onegpu.chat import apply_template, is_conversation, trained_columns
from onegpu.preflight import conversations
from onegpu.preflight.conversations import Problem
from onegpu.preflight.forms import Turn, decoded, filled_in, functions, with_objects, with_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["problems"]

THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts", "rationale")
TAG = re.compile("(</?think>)")
KEY = re.compile("['\"]type['\"]")  # of a part that is written as code, Python's or JSON


def problems(tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a row as it is written, and as the chat template writes it.

    Args:
        tokenizer: With the chat template that training uses.
        row: As `conversations.as_trl_reads` returns it.

    Returns:
        Codes and details, each code once.
    """
    found = conversations.problems(row)
    if not conversations.is_encodable(found) or not conversations.is_in_turns(found):
        return found
    columns = trained_columns(row)
    if not is_conversation(row[columns[0]]) or tokenizer.chat_template is None:
        return found
    return found + _unlike(tokenizer, row, columns)


def _unlike(
    tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any], columns: tuple[str, ...]
) -> list[Problem]:
    """Return what the template does not write as messages say it; at most one problem."""
    prompt = row["prompt"] if "prompt" in columns else []
    turns = [*prompt, *row[columns[-1]]]
    plain = with_texts(with_objects(turns))
    filled = filled_in(plain, row.get("tools"))
    if filled:
        return [("nulls-filled-in", filled)]
    write = functools.partial(apply_template, tokenizer, row=row, tokenize=False)
    lost = functools.partial(_lost, turns=plain, n_prompt=len(prompt), tools=row.get("tools"))
    text = None
    try:
        text = write(turns)
        found = lost(text)
    except ValueError as error:
        found = [("template-refuses", _reason(error))]
    if plain != turns:
        found = _of_forms(write, lost, turns, plain, found=found)
    if found or text is None or len(turns) == 1:
        return found
    alone = _or_none(write, prompt or turns[:-1], add_generation_prompt=True)
    if alone is None:  # trl writes the prompt alone where it is a column
        return [("template-refuses", "the prompt alone")] if prompt else []
    return [] if text.startswith(alone) else [("prompt-differs", "")]


def _or_none(write: Callable[..., str], turns: Sequence[Turn], **options: Any) -> str | None:
    """Return what a template writes, or None where it refuses."""
    try:
        return write(turns, **options)
    except ValueError:
        return None


def _reason(error: ValueError) -> str:
    return " ".join(str(error.__cause__).split())[:80]


def _of_forms(
    write: Callable[..., str],
    lost: Callable[[str], list[Problem]],
    turns: Sequence[Turn],
    plain: Sequence[Turn],
    *,
    found: list[Problem],
) -> list[Problem]:
    """Return what is found of a row when it is compared with its plain texts and objects."""
    try:
        text = write(plain)
    except ValueError as error:  # some read nothing but lists of parts, or arguments as text
        is_refused = any(code == "template-refuses" for code, _ in found)
        return [("template-refuses", _reason(error))] if is_refused else found
    lost_anyway = lost(text)
    if any(code == "left-out" for code, _ in lost_anyway):
        return lost_anyway if found else []
    odd = [turn.get("content") for turn in turns if not isinstance(turn.get("content"), str)]
    written = _or_none(write, with_objects(turns))
    if odd and (
        written is None or lost(written) != lost_anyway or not _is_read(odd, written, text)
    ):
        return [("not-text", "null" if odd[0] is None else "a list of parts")]
    written = _or_none(write, with_texts(turns))
    if written is None or _squeezed(written) != _squeezed(text):
        return [("arguments-as-text", "tool_calls")]
    return lost_anyway


def _is_read(contents: Sequence[Any], written: str, text: str) -> bool:
    """Return whether a template writes contents as it does their texts, and other parts too."""
    if all(part.get("type") == "text" for content in contents for part in content or []):
        return _squeezed(written) == _squeezed(text)
    as_code = [len(KEY.findall(result)) for result in (written, text)]
    return _squeezed(written) != _squeezed(text) and as_code[0] == as_code[1]


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _lost(text: str, turns: Sequence[Turn], *, n_prompt: int, tools: Any) -> list[Problem]:
    """Look for each piece of a row in what the template wrote, in their order."""
    asked = max((n for n, turn in enumerate(turns) if turn["role"] == "user"), default=-1)
    missing = [("the tools", piece) for piece in _of_tools(tools) if _end(text, piece, 0) < 0]
    cut = []
    at = 0
    for number, turn in enumerate(turns):
        # Templates move the system prompt, and may sort the results of tools
        start, ends = 0 if turn["role"] in ("system", "developer") else at, [at]
        for kind, piece in _pieces(turn, text, start):
            end = _end(text, piece, start)
            if end >= 0:
                ends.append(end)
            elif kind != "thought" or (number >= n_prompt and number > asked):
                missing.append((f"the {kind} of turn {number + 1}", piece))
            elif number >= n_prompt:  # those of a prompt are cut at inference too
                cut.append((f"turn {number + 1}", piece))
        if turn["role"] in ("user", "assistant"):
            at = max(ends)
    for code, pieces in (("left-out", missing), ("thoughts-cut", cut)):
        if pieces:
            n_characters = sum(len(piece) for _, piece in pieces)
            return [(code, f"{n_characters:,} characters, first {pieces[0][0]}")]
    return []


def _pieces(turn: Turn, text: str, start: int) -> Iterator[tuple[str, str]]:
    """Yield what a template should write of a turn: thoughts, contents, names and arguments."""
    for key in THOUGHTS:
        if isinstance(turn.get(key), str):
            yield "thought", turn[key]
    content = turn["content"]
    if _end(text, content, start) >= 0:
        yield "content", content
    else:  # a thought may be written elsewhere, or not at all
        parts = TAG.split(content)
        for part, tag in zip(parts[::2], [*parts[1::2], ""], strict=True):
            yield "thought" if tag == "</think>" else "content", part
    for call in [*functions(turn.get("tool_calls")), turn.get("function_call")]:
        if isinstance(call, Mapping):
            for piece in _leaves([call.get("name"), decoded(call.get("arguments"))]):
                yield "tool call", piece


def _of_tools(tools: Any) -> Iterator[str]:
    """Yield what a template should write of the tools that a row declares."""
    for tool in functions(tools):
        described = str(tool.get("description") or tool.get("name") or "")
        yield described.strip().partition("\n")[0]


def _leaves(value: Any) -> Iterator[str]:
    """Yield the texts in a value, and the names of what is not null in it."""
    values = [value]
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            values += [part for pair in value.items() if pair[1] is not None for part in pair]
        elif isinstance(value, list):
            values += value


def _end(text: str, piece: str, start: int) -> int:
    """Return where a piece ends in a text, as it is or as code has it; -1 where it is not."""
    piece = piece.strip()
    at = text.find(piece, start)
    if at >= 0:
        return at + len(piece)
    as_code = (json.dumps(piece, ensure_ascii=False), json.dumps(piece), repr(piece))
    for form in as_code:
        at = text.find(form[1:-1], start)
        if at >= 0:
            return at + len(form) - 2
    return -1
