"""Rows of common formats made into conversations.

Taught in: notebooks/04_formatting.ipynb
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["from_alpaca", "from_pair", "from_sharegpt"]

SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}


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
        ValueError: A column is missing.

    Example:
        >>> from_pair({"question": "2 + 2?", "answer": "4"})["completion"]
        [{'role': 'assistant', 'content': '4'}]

    Taught in: notebooks/04_formatting.ipynb
    """
    _require(row, question, answer)
    return {
        "prompt": [{"role": "user", "content": row[question]}],
        "completion": [{"role": "assistant", "content": row[answer]}],
    }


def from_alpaca(row: Mapping[str, Any]) -> dict[str, Any]:
    r"""Turn an Alpaca row into a prompt and a completion.

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
    _require(row, "instruction", "output")
    question = "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)
    return from_pair({"question": question, "answer": row["output"]})


def from_sharegpt(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a ShareGPT row into a list of messages.

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
    _require(row, "conversations")
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    turns = []
    for turn in row["conversations"]:
        _require(turn, "from", "value")
        role = SHAREGPT_ROLES.get(turn["from"], turn["from"])
        turns.append({"role": role, "content": turn["value"]})
    return {"messages": system + turns}


def _require(row: Mapping[str, Any], *columns: str) -> None:
    missing = [column for column in columns if column not in row]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}: this row has {', '.join(row)}")
