"""The largest number that still fits."""

import math
from collections.abc import Callable

from onegpu import progress

__all__ = ["largest"]


def largest(margin: Callable[[int], float], *, limit: int | None = None) -> int:
    """Return the largest number whose margin is not negative; 0 if there is none.

    Memory grows almost in a straight line, so each guess is where the line through the two margins
    before it crosses zero.

    Args:
        margin: What is left with 1, 2, 3, ...: it never grows, and falls below zero in the end
            unless there is a limit.
        limit: The largest number allowed.

    Returns:
        The number, 0 to `limit`.

    Example:
        >>> largest(lambda n: 100 - 7 * n)
        14
    """
    fits, too_many = 0, None if limit is None else limit + 1
    guess, before = 1, None
    with progress.bar(what="planning", unit="plan") as tried:
        while too_many is None or too_many - fits > 1:
            found = margin(guess)
            tried.update()
            if found >= 0:
                fits = guess
            else:
                too_many = guess
            slope = 0.0
            if before is not None:
                slope = (before[1] - found) / (guess - before[0])
            before = guess, found
            guess += math.floor(found / slope) if slope > 0 else 1
            guess = max(guess, fits + 1)
            if too_many is not None:
                guess = min(guess, too_many - 1)
    return fits
