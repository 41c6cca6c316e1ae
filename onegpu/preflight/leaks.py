"""Prompts that hold their answers already, so that copying is all there is to learn."""

import collections
import re
from collections.abc import Sequence

from onegpu.preflight.findings import Tally

__all__ = ["examine"]

N_LEAST = 10  # rows
MANY = 0.8  # of them
N_WORDS = 5  # of an answer; shorter ones are spans of a text
COVERED, MOST = 0.2, 0.6  # of the prompt, with a mark before the answer and without
MARK = re.compile(
    r"(?:answer|expected|reference|solution|output|target|label|gold|truth|response|result"
    r"|antwort|lösung|réponse|respuesta|risposta|resposta)\W{1,4}\Z",
    re.IGNORECASE,
)
QUESTION_MARKS = ("?", "？", "؟")
LABEL = 40  # characters
FEW = 0.5  # of the rows: different labels
FIELD = re.compile(r"(\w+)(?:[\"']?[=:>|] ?[\"']?)\Z")  # what stands right before a label


def examine(rows: Sequence[tuple[str, str]], tally: Tally) -> None:
    """Look for answers in their own questions, and add what is found to a tally.

    Args:
        rows: Questions and answers, the first of a data set.
        tally: Where findings go.
    """
    if len(rows) < N_LEAST:
        return
    held = [question for question, answer in rows if _is_held(question, answer)]
    if len(held) >= MANY * len(rows):
        found = f"{len(held):,} of {len(rows):,} prompts hold their answer"
        tally.state("answer-in-prompt", repr(held[0].strip()[-40:]), found=found)
        return
    labels = {answer.strip() for _, answer in rows}
    if len(labels) < 2 or len(labels) > FEW * len(rows) or max(map(len, labels)) > LABEL:
        return
    fields = collections.Counter(_field(question, answer.strip()) for question, answer in rows)
    del fields[""]
    field, count = fields.most_common(1)[0] if fields else ("", 0)
    if count >= MANY * len(rows):
        found = f"{count:,} of {len(rows):,} prompts hold their label"
        tally.state("answer-in-prompt", f"after {field!r}", found=found)


def _is_held(question: str, answer: str) -> bool:
    """Return whether a question goes on with its answer, after a mark, or hardly holds more."""
    answer = answer.strip()
    place = question.rfind(answer)
    if place < 0 or (answer.isascii() and len(answer.split()) < N_WORDS):
        return False
    before, after = question[:place], question[place + len(answer) :]
    share = len(answer) / max(1, len(question.strip()))
    if MARK.search(before):
        return share >= COVERED
    return share >= MOST and any(mark in before + after for mark in QUESTION_MARKS)


def _field(question: str, label: str) -> str:
    """Return the name of the field that holds a label, if nobody asks for that field."""
    found = re.search(rf"(?<!\w){re.escape(label)}(?!\w)", question)
    field = FIELD.search(question[: found.start()][-LABEL:]) if found else None
    if not field:
        return ""
    is_asked = len(re.findall(rf"\b{field[1]}", question, re.IGNORECASE)) > 1
    return "" if is_asked else field[0].strip()
