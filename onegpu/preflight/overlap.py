"""Rows of the evaluation that are in the training data, but for case, spaces and marks."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from onegpu.chat import trained_columns
from onegpu.preflight.answers import question_and_answer
from onegpu.preflight.findings import Tally
from onegpu.preflight.forms import Turn, with_texts
from onegpu.preflight.seen import Seen

__all__ = ["Overlap"]

UNHEARD = re.compile("[\"'“”„‘’«»`]|[.!?:;,]+(?!\\S)")  # quotes, and marks at the end of a word


class Overlap:
    """Compares question and answer of each row with those of the training data.

    Args:
        tally: Where findings go.
        seen: The rows of the training data.
        is_evaluation: Whether these are the rows of the evaluation.
    """

    def __init__(self, tally: Tally, seen: Seen, *, is_evaluation: bool):
        self._tally, self._seen, self._is_evaluation = tally, seen, is_evaluation

    def check(self, row: Mapping[str, Any], *, place: str) -> None:
        """Keep a row of the training data, or compare one of the evaluation."""
        question, answer = question_and_answer(row)
        if not question.strip() or not answer.strip():
            return
        text = f"{_folded(question)}\n{_folded(answer)}"
        if not self._is_evaluation:
            self._seen.add_text(text, place)
            if trained_columns(row) == ("messages",):
                self._add_beginnings(row["messages"], place)
        elif before := self._seen.text(text):
            detail = f"as training {before}, but for case, spaces, marks or later turns"
            self._tally.add("train-test-overlap", place, detail)

    def _add_beginnings(self, turns: Sequence[Turn], place: str) -> None:
        """Keep a conversation up to each answer: all of them are learned."""
        texts = [_folded(turn["content"]) for turn in with_texts(turns)]
        for n, turn in enumerate(turns[1:-1], start=1):
            if turn.get("role") == "assistant" and texts[n]:
                self._seen.add_text(f"{' '.join(filter(None, texts[:n]))}\n{texts[n]}", place)


def _folded(text: str) -> str:
    """Return a text without what a reader does not hear."""
    text = UNHEARD.sub(" ", unicodedata.normalize("NFKC", text))
    return " ".join(text.casefold().split())
