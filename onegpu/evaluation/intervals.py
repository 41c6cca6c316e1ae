"""How far a share of a few answers can be trusted."""

import functools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["interval", "tail"]

N_HALVINGS = 60  # of the interval from 0 to 1: then the end is known to the last bit that counts


def interval(n_right: int, n_answers: int) -> tuple[float, float]:
    """Return a 95 % interval of the share of right answers, which a few answers can't tell exactly.

    It is the exact one, of Clopper and Pearson: whatever the true share is, at least 95 of 100 such
    intervals hold it. Below its lower end, or above its upper one, what was seen would come up in
    less than 2.5 % of all tries.

    Args:
        n_right: How many answers were right.
        n_answers: Of how many, at least one.

    Returns:
        Lower and upper end, 0 to 1.

    Raises:
        ValueError: There are no answers, or not that many to be right.

    Example:
        >>> [round(end, 3) for end in interval(38, 40)]
        [0.831, 0.994]

    Taught in: notebooks/00_tldr.ipynb
    Source: Clopper and Pearson 1934, The use of confidence or fiducial limits illustrated in the
        case of the binomial, https://doi.org/10.1093/biomet/26.4.404
    """
    if not 0 <= n_right <= n_answers or n_answers < 1:
        raise ValueError(f"{n_right} of {n_answers} right: give at least one answer, and no more")
    low = 0.0 if n_right == 0 else _share_below(n_right, n_answers)
    # The upper end for the right answers is one minus the lower end for the wrong ones.
    n_wrong = n_answers - n_right
    return low, 1.0 if n_wrong == 0 else 1 - _share_below(n_wrong, n_answers)


def _share_below(n: int, n_answers: int) -> float:
    """Return the share at which `n` or more of the answers come up in 2.5 % of all tries."""
    low, high = 0.0, 1.0
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(n, n_answers, middle) < 0.025 else (low, middle)
    return (low + high) / 2


def tail(n: int, n_tries: int, share: float) -> float:
    """Return the probability that `n` or more of so many tries succeed, each with this share.

    Args:
        n: At least this many.
        n_tries: Of so many.
        share: Probability that one succeeds, above 0 and below 1.

    Returns:
        The probability, 0 to 1.

    Example:
        >>> round(tail(2, 2, 0.5), 12)
        0.25
    """
    import numpy as np

    k = np.arange(n, n_tries + 1)
    logs = _log_factorials(n_tries)
    log_ways = logs[n_tries] - logs[k] - logs[n_tries - k]
    log_chances = k * math.log(share) + (n_tries - k) * math.log1p(-share)
    return min(1.0, float(np.exp(log_ways + log_chances).sum()))


@functools.lru_cache(maxsize=8)
def _log_factorials(n: int) -> "np.ndarray":
    """Return the logarithms of 0!, 1!, ..., n!."""
    import numpy as np

    return np.concatenate([[0.0], np.log(np.arange(1, n + 1)).cumsum()])
