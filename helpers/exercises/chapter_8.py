"""Checks of the exercises in notebooks/08_data.ipynb."""

import json
import re
from collections.abc import Callable
from typing import Any

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

PAIRS = (  # two texts, and the share of their trigrams that both have
    ("swamp", "swamp", 1.0),
    ("swamp", "stamp", 1 / 5),  # amp; swa, wam, sta, tam
    ("banana", "bananas", 3 / 4),  # ban, ana, nan; nas
    ("robot", "drum", 0.0),
)
TRUTH = (
    "On level 1 a full tank lasts 36 hours, on level 2 it lasts 20 hours "
    "and on level 3 it lasts 11 hours."
)
HOURS = re.compile(r"(\d+) hours")
LOGS = (  # what an agent's log holds, and the call that it stands for
    ('{"tool": "order_part", "input": "{\\"part\\": \\"fan\\", \\"quantity\\": 2}"}', 2),
    ('{"tool": "order_part", "input": "{\\"part\\": \\"dial\\", \\"quantity\\": 11}"}', 11),
)


def exercise_1(n_agree: float) -> str | None:
    """Check how many of 128 MinHashes agree for two texts that share half of their trigrams."""
    if isinstance(n_agree, bool) or not isinstance(n_agree, int | float):
        return f"hand in a number of hashes: you say {n_agree!r}"
    if abs(n_agree - 64) > 0.5:
        return (
            f"{n_agree:g} of 128: divide the trigrams that both have by all that are in either, "
            "and mind that 20 of them are in both lists of 30"
        )
    return None


def exercise_2(similarity: Callable[[str, str], float]) -> str | None:
    """Check a Jaccard similarity of character trigrams."""
    for first, second, expected in PAIRS:
        for a, b in ((first, second), (second, first)):
            found = similarity(a, b)
            if abs(found - expected) > 1e-6:
                return f"{a!r} and {b!r}: {found:.3f}, by hand {expected:.3f}"
    return None


def exercise_3(answer: str) -> str | None:
    """Check an answer that is wrong, and that the filter takes for grounded."""
    from onegpu import making

    if not isinstance(answer, str) or not answer.strip():
        return f"hand in a text: you say {answer!r}"
    document = making.Document(name="manual.md", kind="text", text=TRUTH)
    question = "How many hours does a full tank last on level 1?"
    row = making.row(document, question, answer, quote=TRUTH, writer="you")
    if found := making.not_grounded(row, document):
        return f"the filter finds it: {found}"
    said = HOURS.search(answer)
    if said is None:
        return "name a number of hours"
    if said[1] == "36":
        return "36 hours is the truth: lie better"
    return None


def exercise_4(to_row: Callable[[str], dict[str, Any]]) -> str | None:
    """Check rows that are made of an agent's log."""
    for line, quantity in LOGS:
        message = to_row(line)
        if not isinstance(message, dict) or message.get("role") != "assistant":
            return "return one message, with the role assistant"
        try:
            call = json.loads(message.get("content") or "")
        except (TypeError, ValueError):
            return f"its content is no JSON: {message.get('content')!r}"
        if not isinstance(call, dict) or call.get("name") != "order_part":
            return f"its content has no name order_part: {call!r}"
        if isinstance(call.get("arguments"), str):
            return "the arguments are a text that holds JSON: decode them once more"
        if not isinstance(call.get("arguments"), dict):
            return f"its content has no arguments: {call!r}"
        if call["arguments"].get("quantity") != quantity:
            return f"the arguments differ from the log's: {call['arguments']!r}"
    return None
