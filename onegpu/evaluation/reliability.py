"""How far to trust a judge: does it go by the place, and does it agree with the truth?

Taught in: notebooks/07_evaluation.ipynb
"""

import collections
import dataclasses
from collections.abc import Hashable, Sequence

from onegpu.evaluation.intervals import interval
from onegpu.evaluation.judging import Judged

__all__ = ["Agreement", "PositionBias", "agreement", "position_bias"]


@dataclasses.dataclass(frozen=True)
class PositionBias:
    """How much a judge goes by the place at which an answer is shown.

    Attributes:
        n_wins: How many verdicts have a winner, each order counted.
        n_first_wins: How many of them were won by the answer shown first.
        n_pairs: How many pairs of answers were judged in both orders.
        n_changed: In how many of these swapping changed the verdict.
        n_to_first: In how many of these the place shown first came off better.
    """

    n_wins: int
    n_first_wins: int
    n_pairs: int
    n_changed: int
    n_to_first: int

    @property
    def first_share(self) -> float | None:
        """Share of wins that went to the answer shown first; 1/2 is fair, None without any win."""
        return self.n_first_wins / self.n_wins if self.n_wins else None

    @property
    def changed_share(self) -> float:
        """Share of pairs where swapping changes the verdict, 0 to 1."""
        return self.n_changed / self.n_pairs

    @property
    def changed_interval(self) -> tuple[float, float]:
        """Exact 95 % interval of that share."""
        return interval(self.n_changed, self.n_pairs)

    @property
    def to_first_interval(self) -> tuple[float, float]:
        """Exact 95 % interval of the share of changed verdicts that favor the place shown first.

        With 1/2 outside of it, the judge favors a place. It's of changed verdicts alone, because
        the two verdicts on one pair aren't independent; where they agree, each place won once.
        """
        return interval(self.n_to_first, self.n_changed) if self.n_changed else (0.0, 1.0)

    def __str__(self) -> str:
        changed, to_first = (
            f"{100 * low:.0f} to {100 * high:.0f} %"
            for low, high in (self.changed_interval, self.to_first_interval)
        )
        return (
            f"swapping the answers changes {self.n_changed:,} of {self.n_pairs:,} verdicts "
            f"(95 % interval of the share: {changed}); {self.n_to_first:,} of these "
            f"{self.n_changed:,} favor the place shown first ({to_first})"
        )


def position_bias(judged: Sequence[Judged]) -> PositionBias:
    """Count how often a judge goes by the place at which an answer is shown.

    Args:
        judged: Pairs of answers, each judged in both orders: see `in_both_orders`.

    Returns:
        Counts, shares and intervals.

    Raises:
        ValueError: There are no pairs.

    Example:
        >>> from onegpu.evaluation.ranking import Match
        >>> always_first = Judged(Match("a", "b", "a"), Match("b", "a", "b"))
        >>> position_bias([always_first] * 10).to_first_interval[0] > 0.5
        True

    Taught in: notebooks/07_evaluation.ipynb
    """
    if not judged:
        raise ValueError("no pairs: give what in_both_orders returns")
    verdicts = [match for pair in judged for match in (pair.forward, pair.swapped)]
    leans = [pair.lean for pair in judged]
    return PositionBias(
        n_wins=sum(match.winner is not None for match in verdicts),
        n_first_wins=sum(match.winner == match.first for match in verdicts),
        n_pairs=len(judged),
        n_changed=sum(lean != 0 for lean in leans),
        n_to_first=sum(lean > 0 for lean in leans),
    )


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How often a judge says what is true.

    Attributes:
        n: How many verdicts.
        n_agreed: How many of them are right.
        kappa: Cohen's kappa: 1 if all are right, 0 if no more than chance would make right, below
            0 if fewer; None where judge and truth always say the same one thing.
    """

    n: int
    n_agreed: int
    kappa: float | None

    @property
    def share(self) -> float:
        """Share of verdicts that are right, 0 to 1."""
        return self.n_agreed / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval of that share."""
        return interval(self.n_agreed, self.n)

    def __str__(self) -> str:
        low, high = (100 * end for end in self.interval)
        kappa = "undefined" if self.kappa is None else f"{self.kappa:.2f}"
        return (
            f"{self.n_agreed:,} of {self.n:,} verdicts agree (95 % interval of the share: "
            f"{low:.0f} to {high:.0f} %; Cohen's kappa {kappa})"
        )


def agreement(verdicts: Sequence[Hashable], truth: Sequence[Hashable]) -> Agreement:
    """Count how often two agree, and how much of that is more than chance.

    Two who each say A nine times of ten agree four times of five if they toss coins. Kappa is the
    share of agreement beyond that: (agreed - by chance) / (1 - by chance).

    Args:
        verdicts: What the judge says, such as `judged.match.winner`.
        truth: What a program or a person says about the same, as many.

    Returns:
        Counts, share, interval and kappa.

    Raises:
        ValueError: There are no verdicts, or not as many as of the truth.

    Example:
        >>> agreement("AABB", "ABBB").kappa
        0.5

    Taught in: notebooks/07_evaluation.ipynb
    Source: Cohen 1960, A coefficient of agreement for nominal scales,
        https://doi.org/10.1177/001316446002000104
    """
    n = len(verdicts)
    if not n or n != len(truth):
        raise ValueError(f"{n} verdicts and {len(truth)} truths: give one of each, at least once")
    n_agreed = sum(said == true for said, true in zip(verdicts, truth, strict=True))
    said, true = collections.Counter(verdicts), collections.Counter(truth)
    by_chance = sum(said[label] * true[label] for label in said)  # of n²
    if by_chance == n * n:
        return Agreement(n, n_agreed, None)
    return Agreement(n, n_agreed, (n * n_agreed - by_chance) / (n * n - by_chance))
