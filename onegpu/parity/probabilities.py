"""Log-probabilities of two sides, place by place."""

import math
from collections.abc import Iterable, Iterator

from onegpu.chat import n_common
from onegpu.parity.answers import Answer, Place

__all__ = ["ROUNDING", "Pairs", "divergence", "places", "shared_probability"]

Pairs = list[tuple[Answer, Answer]]  # the reference's answers, and the candidate's
ROUNDING = 1e-3  # nats; what counts as equal between two tokens of one side
LEAST = -60.0  # nats; what is less likely, or forbidden, counts as this likely
NO_LESS = 1e-7  # of what is left of the probability: below it there is only rounding


def places(pairs: Iterable[tuple[Answer, Answer]]) -> Iterator[tuple[Place, Place]]:
    """Yield the probabilities at all places that two sides reached by the same tokens.

    Args:
        pairs: The answers of both sides.

    Yields:
        The reference's probabilities and the candidate's, where both sides report them.
    """
    for a, b in pairs:
        if a.prompt_ids != b.prompt_ids:
            continue
        n_reached = n_common(a.ids, b.ids) + 1  # the place where they part, too
        for p, q in zip(a.likeliest[:n_reached], b.likeliest[:n_reached], strict=False):
            if p and q:
                yield p, q


def shared_probability(reference: Place, candidate: Place) -> float:
    """Return how much probability the reference gives to tokens that both sides report.

    Args:
        reference: Its log-probabilities.
        candidate: Its log-probabilities.

    Returns:
        From 0 to 1.
    """
    return sum(math.exp(reference[token]) for token in reference.keys() & candidate.keys())


def divergence(reference: Place, candidate: Place) -> float:
    """Return a lower bound of the KL divergence in nats: the larger of two.

    A likely token of the reference that is not among the candidate's likeliest has at most the
    probability of the last of these, or counts, with all that is left, as one token.

    Args:
        reference: Its log-probabilities, of as many of its likeliest tokens as it reports.
        candidate: Those of the candidate's likeliest tokens, at least one.

    Returns:
        From 0; exact where both report all tokens.
    """
    candidate = {token: max(logarithm, LEAST) for token, logarithm in candidate.items()}
    least = min(candidate.values())
    each, shared = 0.0, 0.0  # sums of p log(p / q)
    rest, unshared, candidate_rest = 1.0, 1.0, 1.0
    for token, logarithm in reference.items():
        p = math.exp(logarithm)
        term = p * (logarithm - candidate.get(token, least)) if p else 0.0
        each += term
        rest -= p
        if token in candidate:
            shared += term
            unshared -= p
            candidate_rest -= math.exp(candidate[token])
    candidate_rest = max(candidate_rest, NO_LESS)
    rest, unshared = max(rest, NO_LESS), max(unshared, NO_LESS)
    each += rest * math.log(rest / candidate_rest)
    shared += unshared * math.log(unshared / candidate_rest)
    return max(each, shared, 0.0)
