"""Whether answers are those of the rows before or after, by the words that both have in common."""

import collections
import math
import re
from collections.abc import Sequence

from onegpu.evaluation.intervals import tail
from onegpu.preflight.findings import Tally

__all__ = ["examine"]

N_LEAST = 20  # rows
SHIFTS = (1, -1, 2, -2)
FAR = (5, 7)  # rows away: what an answer has in common with a question that is not its own
N_COMMON = 0.1  # of the rows: a word that is in more says nothing
DOUBT = 1e-4  # how often chance alone may look like a shift
MANY, SAME = 0.75, 0.65  # of the rows: that a shift fits better, and that own answers fit at most
WORD = re.compile(r"\w{3,}")
N_LETTERS = 6  # that words of one stem have in common


class _Words:
    """The words of questions and answers, each weighted by how rare it is."""

    def __init__(self, rows: Sequence[tuple[str, str]]):
        self.rows = rows
        self.asked = [_stems(question) for question, _ in rows]
        self.said = [_stems(answer) for _, answer in rows]
        counts = collections.Counter(word for words in self.said for word in words)
        limit = max(3, N_COMMON * len(rows))
        self.weights = {w: math.log(len(rows) / n) for w, n in counts.items() if n <= limit}
        for words in (*self.asked, *self.said):
            words.intersection_update(self.weights)

    def shared(self, question: int, answer: int) -> float:
        """Return the weight of the words that a question and an answer have in common."""
        return sum(self.weights[word] for word in self.asked[question] & self.said[answer])

    def compare(self, shift: int, own: Sequence[float]) -> tuple[int, int]:
        """Return how often the answer so many rows away fits better, and how often its own."""
        better = worse = 0
        for n in range(max(0, -shift), len(own) - max(0, shift)):
            other = self.shared(n, n + shift)
            if other == own[n] or self.rows[n + shift][1].strip() in self.rows[n][0]:
                continue  # the next turn of a conversation
            better += other > own[n]
            worse += other < own[n]
        return better, worse


def examine(rows: Sequence[tuple[str, str]], tally: Tally) -> None:
    """Look for one shift that fits all rows better than none, and add it to a tally.

    Args:
        rows: Questions and answers that follow each other in a data set.
        tally: Where findings go.
    """
    if len(rows) < N_LEAST:
        return
    words = _Words(rows)
    own = [words.shared(n, n) for n in range(len(rows))]
    far = [words.compare(shift, own) for shift in FAR]
    n_better, n_worse = (sum(numbers) for numbers in zip(*far, strict=True))
    if n_worse > SAME * (n_better + n_worse):
        return  # most own answers fit better than any others
    for shift in SHIFTS:
        better, worse = words.compare(shift, own)
        if better < MANY * (better + worse):
            continue
        if tail(better, better + worse, 0.5) < DOUBT / len(SHIFTS):  # a sign test
            way = "after" if shift > 0 else "before"
            where = f"{better:,} of {better + worse:,} questions fit the answer {abs(shift)} {way}"
            found = "answers belong to the questions of other rows, by the words in both"
            tally.state("answers-swapped", where, found=found)
            return


def _stems(text: str) -> set[str]:
    return {word[:N_LETTERS] for word in WORD.findall(text.casefold())}
