"""What is wrong with all answers together, of which each alone may be right."""

import collections
import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onegpu.chat import is_conversation, trained_columns
from onegpu.preflight import documents, layout, leaks, letters, repeated, shifts, truncated
from onegpu.preflight.broken_json import BrokenJson
from onegpu.preflight.calls import Arguments
from onegpu.preflight.findings import KINDS, Tally
from onegpu.preflight.forms import with_texts
from onegpu.preflight.remains import Remains
from onegpu.preflight.seen import Seen

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Answers", "question_and_answer"]

N_SAME = 20  # rows of which not all may have the same answer
N_LABELED = 10  # rows from which on short answers may be labels
N_KEPT = 1000  # different short answers; where there are more, they are no labels
SHORT = 40  # characters of a label
FEW = 0.2  # of the rows: different answers, if they are labels
MANY = 0.4  # of the rows: answers that are written in several ways, if there are more
N_FIRST, N_LAST = 1000, 500  # rows that are compared with each other
N_CHARACTERS = 2000  # of each that are kept, at the end of a question and at both of an answer
N_CUT = 5  # answers of the same length
NEAR = 0.9  # of that length
MARKS = re.compile(r"[.!?]+(?!\S)")  # at the end of a word
LINE = re.compile(r"\\n(?:\\n|[-*#•\d A-Z]|$)")  # escaped, where a new line would begin
CODE = re.compile(r"""[`"'\n]""")  # quoted, or with line breaks of its own
SOME = 0.2  # of the rows


class Answers:
    """Checks the answers of all rows of the training data, and adds what is wrong to a tally.

    Args:
        tally: Where findings go.
        seen: The questions that short answers were given to.
        tokenizer: Whose vocabulary tells what is a word.
    """

    def __init__(self, tally: Tally, seen: Seen, tokenizer: "PreTrainedTokenizerBase"):
        self._tally, self._seen, self._tokenizer = tally, seen, tokenizer
        self._documents: list[str] = []  # rows that are one text
        self._remains, self._json = Remains(tally), BrokenJson(tally)
        self._arguments = Arguments(tally)
        self._first: list[tuple[str, str]] = []
        self._last: collections.deque[tuple[str, str]] = collections.deque(maxlen=N_LAST)
        self._n_rows = 0
        self._only: str | None = None  # the answer of all rows so far, if they have the same
        self._short: collections.Counter[str] = collections.Counter()
        self._contradictions: list[tuple[int, str, str]] = []  # row, place, the one before
        self._lengths: collections.Counter[int] = collections.Counter()
        self._longest = 0
        self._n_repeated = self._n_escaped = self._n_lines = self._n_broken = 0
        self._open: list[str] = []  # last words of the longest answers that end in mid-sentence

    def check(self, row: Mapping[str, Any], *, place: str) -> None:
        """Check a row that could be turned into tokens."""
        question, answer = question_and_answer(row)
        if not answer.strip():
            if isinstance(row.get("text"), str) and len(self._documents) < N_LAST:
                self._documents.append(_ends(row["text"]))
            return
        self._n_rows += 1
        self._only = answer if self._n_rows == 1 or self._only == answer else None
        self._measure(answer)
        self._remains.add(question, answer, place=place)
        self._json.add(question, answer, place=place)
        self._arguments.add(row, place=place)
        self._keep(question, answer)
        last = question.rpartition("\n")[2].strip()
        self._n_repeated += len(last) > SHORT // 2 and answer.strip().startswith(f"{last} ")
        self._n_escaped += "\\n" in answer
        self._n_lines += bool(LINE.search(answer)) and not CODE.search(answer)
        self._n_broken += "\n" in answer
        if len(answer) <= SHORT and len(self._short) < N_KEPT:
            self._short[answer] += 1
            question = MARKS.sub(" ", question)
            before = self._seen.add_answer(_folded(question), _folded(answer), place)
            if before and len(self._contradictions) < N_KEPT:
                self._contradictions.append((self._tally.n_rows, place, before))

    def _keep(self, question: str, answer: str) -> None:
        row = question[-N_CHARACTERS:], _ends(answer)
        if len(self._first) < N_FIRST:
            self._first.append(row)
        else:
            self._last.append(row)

    def _measure(self, answer: str) -> None:
        self._lengths[len(answer)] += 1
        if len(answer) > self._longest:
            self._longest, self._open = len(answer), []
        is_open = (answer[-1].isalpha() or answer[-1].isspace()) and " " in answer.strip()
        if len(answer) == self._longest and len(self._open) < N_KEPT and is_open:
            self._open.append(answer.split()[-1])

    def finish(self) -> None:
        """Add what only all rows together show."""
        documents.examine(self._documents, self._tally)
        letters.examine([("", text) for text in self._documents], self._tokenizer, self._tally)
        self._arguments.finish()
        if self._only is not None:
            if self._n_rows >= N_SAME:
                self._tally.state("one-answer", repr(self._only[:SHORT]))
            return
        self._json.finish()
        self._remains.finish()
        self._finish_together()
        self._finish_lengths()
        self._finish_forms()
        ways: dict[str, list[str]] = {}
        for answer in self._short:
            ways.setdefault(_folded(answer), []).append(answer)
        n_short = self._short.total()
        if n_short < max(N_LABELED, MANY * self._n_rows):
            return
        are_labels = len(ways) <= FEW * n_short
        several = [answers for key, answers in ways.items() if len(key) > 1 < len(answers)]
        n_several = sum(self._short[answer] for answers in several for answer in answers)
        if several and (are_labels or n_several >= MANY * n_short):
            where = ", ".join(f"{self._short[answer]} of {answer!r}" for answer in several[0])
            found = f"{n_several:,} of {n_short:,} answers are written in several ways"
            self._tally.state("labels-vary", where, found=found)
        if are_labels:
            for row, place, before in self._contradictions:
                self._tally.add("answers-contradict", place, f"unlike {before}", row=row)

    def _finish_together(self) -> None:
        """Compare the rows that are kept with each other."""
        answers = [answer for _, answer in self._first]
        repeated.examine(answers, self._tally)
        layout.examine(answers, self._tally)
        leaks.examine(self._first, self._tally)
        letters.examine(self._first, self._tokenizer, self._tally)
        truncated.examine(self._first, self._tally)
        for rows in (self._last, self._first):
            shifts.examine(rows, self._tally)

    def _finish_forms(self) -> None:
        """Look for answers that were decoded with their prompts, or escaped once too often."""
        counts = {"prompt-repeated": self._n_repeated}
        counts["line-breaks-escaped"] = 0 if self._n_broken else self._n_escaped
        for code, count in counts.items():
            if code == "line-breaks-escaped" and self._n_lines >= SOME * self._n_rows:
                count = max(count, self._n_lines)
            elif 2 * count < self._n_rows:
                continue
            if count >= N_CUT:
                found = f"{count:,} of {self._n_rows:,} answers {KINDS[code].what}"
                self._tally.state(code, "in many rows", found=found)

    def _finish_lengths(self) -> None:
        """Look for an export that cut the longest answers, all at the same length."""
        count = self._lengths[self._longest]
        near = sum(n for length, n in self._lengths.items() if length >= NEAR * self._longest)
        are_many = self._longest > SHORT and count >= N_CUT and 2 * count >= near
        are_open = len(self._open) >= NEAR * min(count, N_KEPT)
        if are_many and are_open and 2 * len(set(self._open)) > len(self._open):
            found = f"{count:,} answers end in mid-sentence after {self._longest:,} characters"
            self._tally.state("answers-cut", f"first {self._open[0]!r}", found=found)


def question_and_answer(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the texts before the last answer of a row, and that answer.

    Args:
        row: One that could be turned into tokens.

    Returns:
        Two texts; the second is empty where the row is one text.
    """
    texts: list[str] = []
    for column in trained_columns(row):
        if is_conversation(row[column]):
            texts += [turn["content"] for turn in with_texts(row[column])]
        else:
            texts.append(row[column])
    return "\n".join(texts[:-1]), texts[-1] if len(texts) > 1 else ""


def _ends(text: str) -> str:
    """Return a text without the middle, if it is long."""
    return text if len(text) <= 2 * N_CHARACTERS else text[:N_CHARACTERS] + text[-N_CHARACTERS:]


def _folded(text: str) -> str:
    """Return a text without what may differ unseen: case, white space, and Unicode's forms."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
