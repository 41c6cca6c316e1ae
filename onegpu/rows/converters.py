"""Rows of common formats made into what trl trains on.

Taught in: notebooks/04_formatting.ipynb
"""

import ast
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from onegpu.rows.checked import messages_of, require, text_of

__all__ = [
    "from_alpaca",
    "from_document",
    "from_encoded",
    "from_messages",
    "from_pair",
    "from_scores",
]


def from_pair(
    row: Mapping[str, Any], *, question: str = "question", answer: str = "answer"
) -> dict[str, Any]:
    """Turn a question and its answer into a prompt and a completion.

    Args:
        row: Any row with two text columns.
        question: The column that holds what goes in.
        answer: The column that holds what should come out.

    Returns:
        `prompt` and `completion`, a conversation of one message each.

    Raises:
        ValueError: A column is missing, or holds no text.

    Example:
        >>> from_pair({"question": "2 + 2?", "answer": "4"})["completion"]
        [{'role': 'assistant', 'content': '4'}]

    Taught in: notebooks/04_formatting.ipynb
    """
    return {"prompt": _said("user", row, question), "completion": _said("assistant", row, answer)}


def from_alpaca(row: Mapping[str, Any]) -> dict[str, Any]:
    r"""Turn an Alpaca row into a prompt and a completion.

    Args:
        row: `instruction`, `output`, and perhaps `input`, which follows the instruction after an
            empty line. Null and NaN, which pandas writes for an empty cell, are no input.

    Returns:
        `prompt` and `completion`, a conversation of one message each.

    Raises:
        ValueError: A column is missing, or holds no text.

    Example:
        >>> row = {"instruction": "Translate.", "input": "hello", "output": "bonjour"}
        >>> from_alpaca(row)["prompt"][0]["content"]
        'Translate.\n\nhello'

    Taught in: notebooks/04_formatting.ipynb
    Source: Taori et al. 2023, https://github.com/tatsu-lab/stanford_alpaca
    """
    prompt, completion = _said("user", row, "instruction"), _said("assistant", row, "output")
    given = row.get("input")
    if given is not None and given == given and text_of(row, "input"):  # NaN differs from itself
        prompt[0]["content"] = "\n\n".join(filter(None, (prompt[0]["content"], given)))
    return {"prompt": prompt, "completion": completion}


def from_messages(row: Mapping[str, Any]) -> dict[str, Any]:
    """Split a conversation, so that only its last answer is learned.

    Args:
        row: `messages`, of which the last one is the assistant's.

    Returns:
        `prompt`, all messages before the last, and `completion`, the last one; the other columns,
        such as `tools`, as they are.

    Raises:
        ValueError: There is no column `messages`, or it does not end in an answer to something.

    Example:
        >>> turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
        >>> from_messages({"messages": turns})["completion"]
        [{'role': 'assistant', 'content': 'Hello.'}]

    Taught in: notebooks/04_formatting.ipynb
    """
    messages = messages_of(row, "messages", "role")
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        roles = ", ".join(str(message["role"]) for message in messages)
        raise ValueError(
            f"roles {roles or 'none'}: expected at least two messages, the last of role assistant; "
            "drop what follows the last answer"
        )
    rest = {name: value for name, value in row.items() if name != "messages"}
    return {**rest, "prompt": messages[:-1], "completion": messages[-1:]}


def from_encoded(
    row: Mapping[str, Any], *, columns: Sequence[str] = ("messages",)
) -> dict[str, Any]:
    """Decode columns that hold a list as text: JSON, or Python's own, as pandas writes into CSV.

    Args:
        row: Any.
        columns: Those to decode. What holds no text stays as it is.

    Returns:
        All columns.

    Raises:
        ValueError: A column is missing, or holds text of another kind.

    Example:
        >>> from_encoded({"id": 1, "messages": "[{'role': 'user', 'content': None}]"})
        {'id': 1, 'messages': [{'role': 'user', 'content': None}]}
    """
    require(row, *columns)
    return {**row, **{column: _decoded(row[column], column) for column in columns}}


def from_document(row: Mapping[str, Any], *, document: str = "document") -> dict[str, Any]:
    """Turn a document into a text, of which every token is learned: continued pretraining.

    A document may be of any length: with `packing=True, packing_strategy="bfd_split"` trl splits
    it at `max_length` and loses nothing.

    Args:
        row: Any row with a text column.
        document: The column that holds the text.

    Returns:
        `text`.

    Raises:
        ValueError: The column is missing, or holds no text.

    Example:
        >>> from_document({"title": "Swamps", "body": "Wet, they are."}, document="body")
        {'text': 'Wet, they are.'}

    Taught in: notebooks/04_formatting.ipynb
    """
    return {"text": text_of(row, document)}


def from_scores(
    row: Mapping[str, Any],
    *,
    prompt: str = "prompt",
    answers: str = "answers",
    scores: str = "scores",
) -> dict[str, Any]:
    """Turn the scored answers to one prompt into a preference pair: the best and the worst.

    Args:
        row: Any row with these columns.
        prompt: The column that holds what goes in.
        answers: The column that holds a list of texts.
        scores: The column that holds a number for each, the higher the better.

    Returns:
        `prompt`, `chosen` and `rejected`, a conversation of one message each.

    Raises:
        ValueError: A column is missing or holds something else; or no answer is better than
            another, so that there is nothing to prefer: leave such a row out.

    Example:
        >>> row = {"prompt": "2 + 2?", "answers": ["5", "4", "22"], "scores": [3, 9, 0]}
        >>> pair = from_scores(row)
        >>> pair["chosen"][0]["content"], pair["rejected"][0]["content"]
        ('4', '22')
    """
    require(row, prompt, answers, scores)
    numbers, texts = row[scores], row[answers]
    if not _are_numbers(numbers):
        raise ValueError(f"column {scores!r}: expected a list of numbers, got {numbers!r}")
    if not isinstance(texts, list) or [type(text) for text in texts] != [str] * len(numbers):
        raise ValueError(f"column {answers!r}: expected {len(numbers)} texts, one for each score")
    if len(set(numbers)) < 2:
        raise ValueError(f"column {scores!r}: {numbers} prefers no answer; leave this row out")
    best, worst = numbers.index(max(numbers)), numbers.index(min(numbers))
    return {
        "prompt": _said("user", row, prompt),
        "chosen": [{"role": "assistant", "content": texts[best]}],
        "rejected": [{"role": "assistant", "content": texts[worst]}],
    }


def _said(role: str, row: Mapping[str, Any], column: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text_of(row, column)}]


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and -math.inf < value < math.inf for value in values
    )


def _decoded(value: Any, column: str) -> Any:
    if not isinstance(value, str):
        return value
    for decode in (json.loads, ast.literal_eval):
        try:
            found = decode(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, list | dict):
            return found
    raise ValueError(f"column {column!r} holds neither a JSON nor a Python list: {value[:80]!r}")
