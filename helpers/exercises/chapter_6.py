"""Checks of the exercises in notebooks/06_deployment.ipynb."""

import math
from collections.abc import Callable

__all__ = ["exercise_1", "exercise_2", "exercise_3"]


def exercise_1(kind_of: Callable[[int], str]) -> str | None:
    """Check the type that a tensor gets, for rows of several lengths."""
    for columns, expected in (
        (4096, "Q4_K"),
        (1536, "Q4_K"),
        (576, "Q5_0"),
        (96, "Q5_0"),
        (50, "F16"),
    ):
        found = kind_of(columns)
        if found != expected:
            return f"rows of {columns} weights become {expected}, you say {found}"
    return None


def exercise_2(n_common: Callable[[list[int], list[int]], int]) -> str | None:
    """Check where two answers part: in the middle, at an end, at once, nowhere."""
    for ours, theirs, expected in (
        ([5, 6, 7], [5, 9, 7], 1),
        ([5, 6], [5, 6], 2),
        ([5, 6], [5, 6, 7], 2),
        ([5, 6, 7], [5, 6], 2),
        ([5, 6], [4, 6], 0),
        ([], [4], 0),
    ):
        found = n_common(list(ours), list(theirs))
        if found != expected:
            return f"{ours} and {theirs} begin with {expected} common tokens, you say {found}"
    return None


def exercise_3(divergence: Callable[[list[float], list[float]], float]) -> str | None:
    """Check the KL divergence: its direction, its unit, and a probability of zero."""
    for reference, candidate, expected in (
        ([0.5, 0.5], [0.5, 0.5], 0.0),
        ([0.5, 0.5], [0.25, 0.75], 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
        ([0.25, 0.75], [0.5, 0.5], 0.25 * math.log(0.5) + 0.75 * math.log(1.5)),
        ([1.0, 0.0], [0.5, 0.5], math.log(2)),
    ):
        try:
            found = divergence(list(reference), list(candidate))
        except (ValueError, ZeroDivisionError) as error:
            return f"{candidate} from {reference} fails ({error}): what adds a probability of 0?"
        if not math.isclose(found, expected, abs_tol=1e-9):
            given = f"the divergence of {candidate} from {reference}"
            return f"{given} is {expected:.4f} nats, you say {found:.4f}"
    return None
