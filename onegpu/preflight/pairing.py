"""Whether answers are beside their own questions, by the words that both have in common."""

import collections
import math
import re

from onegpu.preflight.findings import Tally

__all__ = ["Pairing"]

N_ROWS = 500
N_LEAST, FEW = 4, 0.1  # misplaced answers that are no accident, and their share
N_WORDS = 3  # of an answer, for a name alone may be in any question
NONE, HALF = 0.1, 0.5  # of an answer's rare words that are in a question
N_COMMON = 0.1  # of the rows: a word that is in more says nothing
WORD = re.compile(r"\w{3,}")


class Pairing:
    """Finds answers that have nothing to do with their questions and much with another.

    Args:
        tally: Where findings go.
    """

    def __init__(self, tally: Tally):
        self._tally = tally
        self._rows: list[tuple[str, str, str]] = []  # place, question, answer

    def add(self, question: str, answer: str, *, place: str) -> None:
        """Keep a row, one of the first."""
        if len(self._rows) < N_ROWS and question and answer:
            self._rows.append((place, question.casefold(), answer.casefold()))

    def finish(self) -> None:
        """Add what all rows together show."""
        asked = [set(WORD.findall(question)) for _, question, _ in self._rows]
        said = [set(WORD.findall(answer)) for *_, answer in self._rows]
        counts = collections.Counter(word for words in (*asked, *said) for word in words)
        limit = max(4, N_COMMON * 2 * len(self._rows))
        rare = {word: 1 / count for word, count in counts.items() if count <= limit}
        asking = collections.defaultdict(list)
        for number, words in enumerate(asked):
            for word in words & rare.keys():
                asking[word].append(number)
        said = [words if len(words) >= N_WORDS else set() for words in said]
        best = [self._best(words & rare.keys(), rare, asking, n) for n, words in enumerate(said)]
        found = [
            (n, other)
            for n, (own, share, second, other) in enumerate(best)
            if own <= NONE and share >= HALF and second <= share / 2 and best[other][0] <= NONE
        ]
        if len(found) < max(N_LEAST, FEW * len(self._rows)):
            return
        where = "; ".join(f"{self._rows[n][0]}: that of {self._rows[o][0]}" for n, o in found[:3])
        text = f"{len(found):,} of {len(self._rows):,} rows have an answer that belongs to another"
        self._tally.state("answers-swapped", where, found=text)

    def _best(
        self,
        words: set[str],
        rare: dict[str, float],
        asking: dict[str, list[int]],
        number: int,
    ) -> tuple[float, float, float, int]:
        """Return the share of an answer's words in its question, in the best two, and the best."""
        shares: collections.Counter[int] = collections.Counter()
        for word in words:
            for other in asking[word]:
                shares[other] += rare[word]
        total = sum(rare[word] for word in words) or math.inf
        own = shares.pop(number, 0) / total
        answer = self._rows[number][2].strip()
        ranked = [
            (share / total, other)
            for other, share in shares.most_common(3)
            if answer not in self._rows[other][1]  # the next turn of a conversation
        ]
        ranked += [(0.0, number)] * 2
        return own, ranked[0][0], ranked[1][0], ranked[0][1]
