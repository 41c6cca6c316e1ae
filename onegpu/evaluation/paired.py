"""Is one model better than another, on the same prompts, or is that luck?"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onegpu.evaluation.intervals import tail

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Comparison", "compare", "compare_groups", "n_needed"]

LEVEL = 0.05  # a difference that luck alone makes more often is not enough to tell
N_RESAMPLES = 4_000
Z_LEVEL, Z_POWER = 1.959964, 0.841621  # of a normal distribution: 95 % within, 80 % below


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on the same prompts.

    Attributes:
        n: How many prompts.
        first: Mean score of the first model, 0 to 1.
        second: That of the second.
        interval: 95 % interval of the difference, second less first.
        p: How often luck alone makes a difference this large, 0 to 1.
        n_needed: How many prompts would show a difference of this size four times out of five;
            None where there is no difference.
    """

    n: int
    first: float
    second: float
    interval: tuple[float, float]
    p: float
    n_needed: int | None

    @property
    def verdict(self) -> str:
        """`"better"` or `"worse"`, of the second model, or `"not enough to tell"`."""
        if self.p >= LEVEL or self.first == self.second:
            return "not enough to tell"
        return "better" if self.second > self.first else "worse"

    def __str__(self) -> str:
        low, high = (f"{100 * end:+.1f}" for end in self.interval)
        text = (
            f"{self.verdict}: {100 * self.first:.1f} % and {100 * self.second:.1f} % "
            f"({100 * (self.second - self.first):+.1f} points, 95 % interval {low} to {high}; "
            f"p = {self.p:.2g}, {self.n:,} prompts)"
        )
        if self.verdict != "not enough to tell" or self.n_needed is None:
            return text
        return f"{text}. A difference of this size takes about {self.n_needed:,} prompts to see"


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare the scores of two models prompt by prompt, and say whether one is better.

    Counts of right and wrong go through McNemar's exact test, which looks only at the prompts where
    the two differ. Other scores go through a test that swaps the two models at random. The interval
    comes from drawing the prompts again, with replacement (a paired bootstrap).

    Args:
        first: Score of each answer of the first model, 0 to 1; `True` is 1.
        second: Those of the second model, for the same prompts in the same order.

    Returns:
        The comparison. It is the same each time.

    Raises:
        ValueError: There are no scores, not as many of both, or one is not between 0 and 1.

    Example:
        >>> compare([False] * 9 + [True], [True] * 10).verdict
        'better'
        >>> compare([False, True], [True, True]).verdict
        'not enough to tell'

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996; Koehn 2004, Statistical significance
        tests for machine translation evaluation, https://aclanthology.org/W04-3250/
    """
    import numpy as np

    if not len(first) or len(first) != len(second):
        raise ValueError(
            f"{len(first)} scores and {len(second)}: give one for each prompt, of both models"
        )
    scores = np.array([first, second], dtype=float)  # (2, prompts)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("scores must be between 0 and 1: divide chrF by 100, for example")
    differences = scores[1] - scores[0]
    n, mean = len(differences), float(differences.mean())
    random = np.random.default_rng(0)
    drawn = differences[random.integers(0, n, (N_RESAMPLES, n))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Comparison(
        n=n,
        first=float(scores[0].mean()),
        second=float(scores[1].mean()),
        interval=(float(low), float(high)),
        p=_p(differences, random),
        n_needed=n_needed(mean, spread=float((differences**2).mean())) if mean else None,
    )


def _p(differences: "np.ndarray", random: "np.random.Generator") -> float:
    """Return how often luck alone makes a mean difference as large."""
    import numpy as np

    if np.isin(differences, (-1, 0, 1)).all():
        n_up, n_down = int((differences == 1).sum()), int((differences == -1).sum())
        return min(1.0, 2 * tail(max(n_up, n_down), n_up + n_down, 0.5))
    signs = random.choice([-1, 1], (N_RESAMPLES, len(differences)))
    n_as_large = (abs((signs * differences).mean(axis=1)) >= abs(differences.mean()) - 1e-12).sum()
    return (int(n_as_large) + 1) / (N_RESAMPLES + 1)


def compare_groups(
    first: Sequence[float], second: Sequence[float], *, groups: Mapping[str, Sequence[bool]]
) -> dict[str, Comparison]:
    """Compare two models group by group.

    The more groups one looks at, the likelier one of them is better by luck. So each p is made
    larger, by Holm's method: no matter how many groups there are, one is called better or worse by
    luck at most one time in twenty.

    Args:
        first: Score of each answer of the first model, 0 to 1.
        second: Those of the second, for the same prompts.
        groups: For each group's name, which of the prompts belong to it.

    Returns:
        A comparison for each group, in their order.

    Raises:
        ValueError: See `compare`; or a group has not as many truth values as there are prompts,
            or is empty.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure,
        https://www.jstor.org/stable/4615733
    """
    found = {}
    for name, chosen in groups.items():
        if len(chosen) != len(first) or not any(chosen):
            raise ValueError(
                f"group {name!r} marks {sum(chosen)} of {len(chosen)} prompts: give one truth "
                f"value for each of the {len(first)}, at least one of them true"
            )
        members = [place for place, is_member in enumerate(chosen) if is_member]
        found[name] = compare([first[i] for i in members], [second[i] for i in members])
    largest = 0.0
    for rank, name in enumerate(sorted(found, key=lambda name: found[name].p)):
        largest = max(largest, min(1.0, (len(found) - rank) * found[name].p))
        found[name] = dataclasses.replace(found[name], p=largest)
    return found


def n_needed(difference: float, *, spread: float) -> int:
    """Return how many prompts show a difference four times out of five.

    Args:
        difference: Of the mean scores, not 0.
        spread: Mean squared difference of the scores of one prompt; for right and wrong this is
            the share of prompts where the two models differ, at least as large as `difference`.

    Returns:
        A number of prompts, each answered by both models.

    Raises:
        ValueError: There is no difference, or the spread is too small for it.

    Example:
        >>> n_needed(0.1, spread=0.2)
        155

    Source: Connor 1987, Sample size for testing differences in proportions for the paired-sample
        design, https://doi.org/10.2307/2531961
    """
    if difference == 0 or spread < difference**2 - 1e-12:
        raise ValueError(f"a difference of {difference} with a spread of {spread} can't be")
    within = max(0.0, spread - difference**2)
    needed = (Z_LEVEL * spread**0.5 + Z_POWER * within**0.5) ** 2 / difference**2
    return math.ceil(needed)
