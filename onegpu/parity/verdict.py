"""What a comparison comes to, in words."""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING

from onegpu.chat import n_common
from onegpu.parity.answers import Answer
from onegpu.parity.faults import not_numbers, other_ends, other_prompts
from onegpu.parity.pairing import NOT_APPLIED
from onegpu.parity.probabilities import (
    ROUNDING,
    Pairs,
    divergence,
    places,
    shared_probability,
)

if TYPE_CHECKING:
    from onegpu.parity.comparison import Report

__all__ = ["SAME_KL", "Verdict", "is_near_tie", "judge"]

SAME_KL = 1e-3  # nats; below it two distributions are taken as the same
WORST_KL = 0.1  # nats; the same for the one place at which they differ most
# Nats between two tokens of which either may come out likeliest: two steps of a BF16 number
# between 16 and 32, where the likeliest logits lie.
NEAR_TIE = 0.25
ANOTHER_KL = 0.5  # nats; quantization to 4 bits stays far below it
NO_KL = 1e-6  # nats; below it the difference is the rounding of 32-bit numbers
ENOUGH = 0.5  # share of the places, and of the probability, to be compared for any judgment
NEARLY_ALL = 0.9  # and for "the same"
FEW = 20  # places; fewer say nothing
FEW_PROMPTS = 5  # fewer miss a fault that touches every second prompt more often than one in 30


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a comparison comes to.

    Attributes:
        same: True for the same model, False for another or one that is only alike, None where
            that cannot be told.
        text: The same in words, with the reason.
    """

    same: bool | None
    text: str


def judge(report: "Report", pairs: Pairs, faulty: Mapping[str, tuple[Answer, ...]]) -> Verdict:
    """Return what a comparison comes to: the first fault that explains it.

    A false "same" is the worst that this module can say. So the last lines are reached only where
    answers and probabilities are there, agree with each other, and were compared for nearly all of
    the probability that there is.

    Args:
        report: All but its verdict.
        pairs: The answers that were compared.
        faulty: The reference's first answers with a fault of its adapter, by this fault; see
            `paired`.

    Returns:
        The verdict.
    """
    for find_fault in (other_prompts, not_numbers, other_ends):
        fault = find_fault(pairs)
        if fault:
            return Verdict(False, f"NOT THE SAME: {fault}")
    n, n_same = report.n_prompts, report.n_same_answers
    if report.n_places < ENOUGH * sum(max(n_common(a.ids, b.ids), 1) for a, b in pairs):
        too_few = "with too few probabilities to tell"
        if report.differences:
            return Verdict(
                False, f"NOT THE SAME: {n - n_same} of {n} answers differ, {too_few} why"
            )
        return Verdict(None, f"THE SAME ANSWERS, {too_few} whether it is the same model")
    nearness = {fault: _nearness(pairs, answers) for fault, answers in faulty.items()}
    nearest = min(nearness, key=nearness.__getitem__)
    if nearness[nearest] < 0.5:
        return Verdict(False, f"NOT THE SAME: {nearest}")
    if report.mean_kl > ANOTHER_KL:
        return Verdict(
            False,
            "NOT THE SAME: its probabilities are too far off: another base or adapter, "
            "quantization far below 4 bits, or transformers 4 reading what 5 saved (does the "
            'config.json that it reads have "rope_theta"?)',
        )
    if nearness[NOT_APPLIED] < 1.5:
        return Verdict(
            None,
            "CANNOT TELL: the candidate is about as near to the base as to the tuned model. Its "
            "adapter is applied in part, or changes too little on these prompts",
        )
    return _not_greedy(pairs) or _sameness(report, pairs)


def _sameness(report: "Report", pairs: Pairs) -> Verdict:
    """Return how alike two sides are in which no fault was found."""
    n_untold = sum(_parts_untold(a, b) for a, b in pairs)
    if n_untold:
        return Verdict(
            None, f"CANNOT TELL: {n_untold} answers part where a side reports no probabilities"
        )
    held = [shared_probability(p, q) for p, q in places(pairs)]
    mean, n = statistics.fmean(held), report.n_places
    if n < FEW or mean < ENOUGH:
        return Verdict(
            None,
            f"CANNOT TELL: there are {n} places to compare, where the tokens that both sides "
            f"report hold {mean:.0%} of the probability. Take more prompts, or surer ones",
        )
    alike = f"ALIKE: {report.n_same_answers} of {report.n_prompts} answers are the same, and the "
    if report.mean_kl > SAME_KL:
        return Verdict(False, f"{alike}probabilities differ about as much as after quantization")
    if report.worst_kl > WORST_KL or report.n_near_ties < len(report.differences):
        worst = f"differ by {report.worst_kl:.2g} nats at one place"
        return Verdict(False, f"{alike}probabilities agree on average, but {worst}")
    if mean < NEARLY_ALL or sum(share > ENOUGH for share in held) < NEARLY_ALL * n:
        return Verdict(
            False, f"{alike}probabilities agree, as far as both sides report them: {mean:.0%}"
        )
    if report.n_prompts < FEW_PROMPTS:
        asked = "1 prompt is" if report.n_prompts == 1 else f"{report.n_prompts} prompts are"
        return Verdict(
            None, f"CANNOT TELL: no fault shows, and {asked} not enough to tell. Take some dozens"
        )
    if report.differences:
        return Verdict(True, "THE SAME MODEL, but for near-ties between tokens")
    return Verdict(True, "THE SAME MODEL")


def _not_greedy(pairs: Pairs) -> Verdict | None:
    """Return which side takes other tokens than its likeliest where two answers part.

    If both do so, also where they agree, they may well choose by the same rule.
    """
    rule = "a repetition penalty, a temperature, a logit bias, a grammar"
    parting = []
    for a, b in pairs:
        at = n_common(a.ids, b.ids)
        if a.token(at) != b.token(at):
            parting.append((a, b, at))
    n_by_reference = sum(_is_overruled(a, at) for a, _, at in parting)
    n_by_candidate = sum(_is_overruled(b, at) for _, b, at in parting)
    if n_by_reference == n_by_candidate == 0:
        return None
    agreeing = [(a, b, at) for a, b in pairs for at in range(n_common(a.ids, b.ids))]
    if any(_is_overruled(a, at) for a, _, at in agreeing) and any(
        _is_overruled(b, at) for _, b, at in agreeing
    ):
        return Verdict(
            None,
            f"CANNOT TELL: something other than the model picks tokens on both sides ({rule}), so "
            "answers that part say nothing. Switch it off on both, and compare again",
        )
    name, n_taken = "reference", n_by_reference
    if n_by_reference == 0:
        name, n_taken = "candidate", n_by_candidate
    return Verdict(
        False,
        f"NOT THE SAME: in {n_taken} of {len(pairs)} answers the {name} takes a token that is not "
        "its likeliest, just where the two part. Something other than the model picks the tokens: "
        f"{rule}",
    )


def _is_overruled(answer: Answer, place: int) -> bool:
    """Return whether an answer takes another token than its likeliest at a place."""
    of = answer.likeliest[place] if place < len(answer.likeliest) else {}
    token = answer.token(place)
    if not of or token is None:
        return False
    return of.get(token, -math.inf) < max(of.values()) - ROUNDING


def _nearness(pairs: Pairs, faulty: tuple[Answer, ...]) -> float:
    """Return how far the candidate is from faulty answers, for each nat from the reference's.

    Below 1 it is nearer to the faulty ones. Infinite where there is nothing to compare, or nothing
    to tell apart.
    """
    n = min(len(pairs), len(faulty))
    with_faulty = [(faulty[i], pairs[i][1]) for i in range(n)]
    from_tuned = [divergence(p, q) for p, q in places(pairs[:n])]
    from_faulty = [divergence(p, q) for p, q in places(with_faulty)]
    if not from_tuned or not from_faulty or not_numbers(with_faulty):
        return math.inf
    distance, other = statistics.fmean(from_tuned), statistics.fmean(from_faulty)
    return other / distance if distance > NO_KL and other < ANOTHER_KL else math.inf


def _parts_untold(a: Answer, b: Answer) -> bool:
    """Return whether two answers part at a place where a side reports no probabilities."""
    at = n_common(a.ids, b.ids)
    if a.token(at) == b.token(at):
        return False
    return any(at >= len(side.likeliest) or not side.likeliest[at] for side in (a, b))


def is_near_tie(reference: Answer, candidate: Answer) -> bool:
    """Return whether the reference nearly went where the candidate went.

    Args:
        reference: Its answer.
        candidate: Its answer, which is another.

    Returns:
        True where both tokens at which they part are about as likely to the reference.
    """
    at = n_common(reference.ids, candidate.ids)
    if _parts_untold(reference, candidate) or at >= len(reference.likeliest):
        return False
    likeliest = reference.likeliest[at]
    ours = likeliest.get(reference.token(at), -math.inf)
    theirs = likeliest.get(candidate.token(at), -math.inf)
    return -ROUNDING <= ours - theirs < NEAR_TIE
