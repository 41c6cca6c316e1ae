"""How answers were judged, in all rows together: by ratings, lengths and repeated prompts."""

import collections
import math
import re
from collections.abc import Mapping
from typing import Any

from onegpu.preflight.answers import question_and_answer
from onegpu.preflight.findings import Tally

__all__ = ["Judged"]

LONGER = 1.2  # times as long as the rejected answer
SHARE, MEAN = 0.85, 2.0  # of pairs that are so much longer, and times as long in the mean
DOUBT = 0.01  # how often chance alone may look like more than that share
N_LEAST = 5  # rows
ECHOED = 0.8  # of the pairs: those in which only one answer begins with the question
N_LETTERS = 10  # of a question that no answer begins with by chance
CUT, ELSE, NEAR = 0.3, 0.1, 0.2  # of the pairs; of those the other way; from the median length
OPEN = re.compile(r"(?:\A|\n)(?![ \t]*(?:[-*•|]|\d+[.)]))[^\n`{}]{40,}\w\s*\Z")  # prose, no list
N_KEPT = 1000  # different answers
N_RATINGS, HIGHEST = 11, 100  # different ratings, and the highest
SCORES = ("stars", "rating", "reward", "quality")  # columns in which more is better


class Judged:
    """Compares how answers were judged, and adds what is wrong to a tally.

    Args:
        tally: Where findings go.
    """

    def __init__(self, tally: Tally):
        self._tally = tally
        self._n_pairs = self._n_longer = 0
        self._n_tokens = [0, 0]
        self._echoes = [0, 0]  # chosen or rejected answers that alone begin with the question
        self._open = [collections.Counter[int](), collections.Counter[int]()]  # by length
        self._n_rated = self._n_not_rated = 0
        self._ratings: set[float] = set()
        self._rated: set[int] = set()  # hashes of answers
        self._scores: dict[str, dict[bool, list[float]]] = {}  # of a column: lowest and highest

    def add_lengths(self, chosen: int, rejected: int) -> None:
        """Count a pair by the tokens of both answers."""
        self._n_pairs += 1
        self._n_longer += chosen > LONGER * rejected
        self._n_tokens = [self._n_tokens[0] + chosen, self._n_tokens[1] + rejected]

    def add_pair(self, chosen: Mapping[str, Any], rejected: Mapping[str, Any]) -> None:
        """Count a pair of which only one answer begins with the question, or is cut."""
        echo, is_open = [], []
        for row in (chosen, rejected):
            question, answer = question_and_answer(row)
            is_open.append(bool(OPEN.search(answer)) and len(answer))
            last = question.strip().rpartition("\n")[2]
            echo.append(len(last) > N_LETTERS and answer.strip().startswith(last))
        self._echoes[0] += echo == [True, False]
        self._echoes[1] += echo == [False, True]
        if not all(is_open):
            for lengths, length in zip(self._open, is_open, strict=True):
                lengths.update([length] if length else [])

    def add_rating(self, rating: Any, answer: Any) -> None:
        """Count a label that is no truth value."""
        try:
            value = float(rating)
        except (OverflowError, TypeError, ValueError):
            value = math.nan
        if isinstance(rating, bool) or not abs(value) <= HIGHEST:
            self._n_not_rated += 1
            return
        self._n_rated += 1
        if len(self._ratings) <= N_KEPT:
            self._ratings.add(value)
        if len(self._rated) < N_KEPT:
            self._rated.add(hash(str(answer)))

    def add_scores(self, row: Mapping[str, Any], *, is_good: bool) -> None:
        """Keep the scores that a labeled answer has in other columns."""
        for name in SCORES:
            value = row.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                range_ = self._scores.setdefault(name, {}).setdefault(is_good, [value, value])
                range_[:] = min(range_[0], value), max(range_[1], value)

    def finish(self) -> None:
        """Add what only all rows of the training data together show."""
        self._finish_lengths()
        self._finish_ratings()
        for n, which in enumerate(("chosen", "rejected")):
            self._finish_cuts(which, self._open[n], self._open[1 - n].total())
        for which, count in zip(("chosen", "rejected"), self._echoes, strict=True):
            if count >= max(N_LEAST, ECHOED * self._n_pairs):
                found = f"in {count:,} of {self._n_pairs:,} rows {which} begins with the prompt"
                self._tally.state("prompt-repeated", "the other answer does not", found=found)
        for name, ranges in self._scores.items():
            if len(ranges) == 2 and ranges[True][1] < ranges[False][0]:
                good, bad = (f"{ranges[key][0]:g} to {ranges[key][1]:g}" for key in (True, False))
                found = f"labels contradict the column {name}"
                self._tally.state("scores-contradict", f"true: {good}, false: {bad}", found=found)

    def _finish_lengths(self) -> None:
        chosen, rejected = self._n_tokens
        if chosen > MEAN * rejected and _exceeds(SHARE, self._n_longer, self._n_pairs):
            found = f"in {self._n_longer:,} of {self._n_pairs:,} rows the chosen answer is longer"
            mean = f"{chosen / max(1, rejected):.1f} times as long in the mean"
            self._tally.state("chosen-longer", f"by over {LONGER - 1:.0%}; {mean}", found=found)

    def _finish_cuts(self, which: str, lengths: collections.Counter[int], n_others: int) -> None:
        """Look for answers of one kind that a limit on tokens cut: all are about as long."""
        count, passed, median = lengths.total(), 0, 0
        for length in sorted(lengths):
            passed += lengths[length]
            median = median or length * (2 * passed >= count)
        n_near = sum(n for length, n in lengths.items() if abs(length - median) <= NEAR * median)
        is_habit = count >= max(N_LEAST, CUT * self._n_pairs) and n_others <= ELSE * count
        if is_habit and n_near >= ECHOED * count:
            found = f"in {count:,} of {self._n_pairs:,} rows only {which} ends in mid-sentence"
            self._tally.state("answers-cut", f"after about {median:,} characters", found=found)

    def _finish_ratings(self) -> None:
        """Look for ratings: numbers from 0 on may be classes, and so may those of few answers."""
        ratings = self._ratings
        are_whole = all(value == int(value) for value in ratings)
        if self._n_not_rated or self._n_rated < N_LEAST or len(ratings) < 2 or ratings <= {0, 1}:
            return
        if are_whole and (0 in ratings or len(ratings) > N_RATINGS):
            return
        if 2 * len(self._rated) >= min(self._n_rated, N_KEPT):
            found = f"the labels of {self._n_rated:,} rows are numbers, which count as true but 0"
            where = f"{min(ratings):g} to {max(ratings):g}"
            self._tally.state("label-not-bool", where, found=found)


def _exceeds(share: float, count: int, total: int) -> bool:
    """Return whether so many are beyond doubt more than a share, by Chernoff's bound."""
    if count <= share * total:
        return False
    part = count / total
    divergence = part * math.log(part / share)
    if part < 1:
        divergence += (1 - part) * math.log((1 - part) / (1 - share))
    return total * divergence > -math.log(DOUBT)
