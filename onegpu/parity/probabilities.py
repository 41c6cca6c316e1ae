"""Log-probabilities of two sides, place by place."""

import math
from collections.abc import Iterable, Iterator, Mapping

from onegpu.chat import n_common
from onegpu.parity.recording import Answer

__all__ = ["Pairs", "Place", "divergence", "places", "shared_probability"]

Pairs = list[tuple[Answer, Answer]]  # the reference's answers, and the candidate's
Place = Mapping[int, float]  # log-probabilities of the likeliest tokens, by token id
LEAST = -60.0  # nats; what is less likely, or forbidden, counts as this likely


def places(pairs: Iterable[tuple[Answer, Answer]]) -> Iterator[tuple[Place, Place]]:
    """Yield the probabilities at all places that two sides reached by the same tokens."""
    for a, b in pairs:
        if a.prompt_ids == b.prompt_ids:
            both = list(zip(a.likeliest, b.likeliest, strict=False))
            yield from (pair for pair in both[: n_common(a.ids, b.ids) + 1] if all(pair))


def shared_probability(reference: Place, candidate: Place) -> float:
    """Return how much probability the reference gives to tokens of which both sides tell."""
    return sum(math.exp(reference[token]) for token in reference.keys() & candidate.keys())


def divergence(reference: Place, candidate: Place) -> float:
    """Return a lower bound of the KL divergence in nats: the larger of two.

    A likely token of the reference that is not among the candidate's likeliest has at most the
    probability of the last of these, or counts, with all that is left, as one token.
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
    rest, unshared, candidate_rest = (max(x, 1e-7) for x in (rest, unshared, candidate_rest))
    each += rest * math.log(rest / candidate_rest)
    shared += unshared * math.log(unshared / candidate_rest)
    return max(each, shared, 0.0)
