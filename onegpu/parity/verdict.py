"""What a comparison comes to, in words."""

import math
import statistics
from typing import TYPE_CHECKING

from onegpu.chat import n_common
from onegpu.parity.probabilities import Pairs, divergence, places, shared_probability
from onegpu.parity.recording import Answer

if TYPE_CHECKING:
    from onegpu.parity.comparison import Report

__all__ = ["SAME_KL", "is_near_tie", "not_numbers", "verdict"]

SAME_KL = 1e-3  # nats; below it two distributions are taken as the same
WORST_KL = 0.1  # nats; the same for the one place at which they differ most
# Nats between two tokens of which either may come out likeliest: two steps of a BF16 number
# between 16 and 32, where the likeliest logits lie.
NEAR_TIE = 0.25
ANOTHER_KL = 0.5  # nats; quantization to 4 bits stays far below it
NO_KL = 1e-6  # nats; below it the difference is the rounding of 32-bit numbers
ROUNDING = 1e-3  # nats; what counts as equal between two tokens of one side
ENOUGH = 0.5  # share of the places, and of the probability, to be compared for any judgment
NEARLY_ALL = 0.9  # and for "the same"
FEW = 20  # places; fewer say nothing


def verdict(report: "Report", pairs: Pairs, without_adapter: tuple[Answer, ...]) -> str:
    """Return what a comparison comes to: the first fault that explains it.

    A false "same" is the worst that this module can say. So the last lines are reached only where
    answers and probabilities are there, agree with each other, and were compared for nearly all of
    the probability that there is.
    """
    for find_fault in (_other_prompts, not_numbers, _other_ends):
        if fault := find_fault(pairs):
            return f"NOT THE SAME: {fault}"
    n, n_same = report.n_prompts, report.n_same_answers
    if report.n_places < ENOUGH * sum(max(n_common(a.ids, b.ids), 1) for a, b in pairs):
        too_few = "with too few probabilities to tell"
        if report.differences:
            return f"NOT THE SAME: {n - n_same} of {n} answers differ, {too_few} why"
        return f"THE SAME ANSWERS, {too_few} whether it is the same model"
    nearness = _nearness_of_base(pairs, without_adapter)
    if nearness < 0.5:
        return "NOT THE SAME: the candidate answers like the base model: its adapter is not applied"
    if report.mean_kl > ANOTHER_KL:
        return (
            "NOT THE SAME: its probabilities are too far off: another base or adapter, or "
            "quantization far below 4 bits"
        )
    if nearness < 1.5:
        return (
            "CANNOT TELL: the candidate is about as near to the base as to the tuned model. Its "
            "adapter is applied in part, or changes too little on these prompts"
        )
    if fault := _not_greedy(pairs):
        return fault
    return _sameness(report, pairs)


def _sameness(report: "Report", pairs: Pairs) -> str:
    """Return how alike two sides are in which no fault was found."""
    if n_untold := sum(_parts_untold(a, b) for a, b in pairs):
        return f"CANNOT TELL: {n_untold} answers part where a side reports no probabilities"
    held = [shared_probability(p, q) for p, q in places(pairs)]
    mean, n = statistics.fmean(held), report.n_places
    if n < FEW or mean < ENOUGH:
        return (
            f"CANNOT TELL: there are {n} places to compare, where the tokens that both sides "
            f"report hold {mean:.0%} of the probability. Take more prompts, or surer ones"
        )
    alike = f"ALIKE: {report.n_same_answers} of {report.n_prompts} answers are the same, and the "
    if report.mean_kl > SAME_KL:
        return f"{alike}probabilities differ about as much as after quantization"
    if report.worst_kl > WORST_KL or report.n_near_ties < len(report.differences):
        worst = f"differ by {report.worst_kl:.2g} nats at one place"
        return f"{alike}probabilities agree on average, but {worst}"
    if mean < NEARLY_ALL or sum(share > ENOUGH for share in held) < NEARLY_ALL * n:
        return f"{alike}probabilities agree, as far as both sides report them: {mean:.0%}"
    if report.differences:
        return "THE SAME MODEL, but for near-ties between tokens"
    return "THE SAME MODEL"


def _other_prompts(pairs: Pairs) -> str:
    """Return how the prompts' tokens differ, at the first prompt where they do."""
    for a, b in pairs:
        if a.prompt_ids == b.prompt_ids:
            continue
        if b.prompt_ids[1:] == a.prompt_ids:
            twice = "a BOS twice" if b.prompt_ids[:1] == a.prompt_ids[:1] else "a BOS of its own"
            return f"the candidate puts one more token before the prompt, {twice}"
        if a.prompt_ids[1:] == b.prompt_ids:
            return "the candidate leaves out the first token of the prompt, its BOS"
        if a.prompt_text != b.prompt_text:
            return (
                "another chat template: the reference writes "
                f"{_around(a.prompt_text, b.prompt_text)}, the candidate "
                f"{_around(b.prompt_text, a.prompt_text)}"
            )
        at = n_common(a.prompt_ids, b.prompt_ids)
        return (
            "the same text becomes other tokens, so the pre-tokenizer is another or is missing: "
            f"from token {at} on {a.prompt_ids[at : at + 4]} against "
            f"{b.prompt_ids[at : at + 4]}"
        )
    return ""


def not_numbers(pairs: Pairs) -> str:
    """Return which side computes what are no probabilities, if one does."""
    for name, answers in zip(("reference", "candidate"), zip(*pairs, strict=True), strict=True):
        told = (place for answer in answers for place in answer.likeliest)
        if not all(logarithm < ROUNDING for place in told for logarithm in place.values()):
            return (
                f"the {name}'s probabilities are not numbers from 0 to 1 (NaN?): its number type "
                "overflows, or its weights are damaged. Load it in float32, and compare again"
            )
    return ""


def _other_ends(pairs: Pairs) -> str:
    """Return what is wrong with where the answers end, though their tokens are the same so far."""
    runs_on, stops, cut = 0, 0, {"reference": 0, "candidate": 0}
    for a, b in pairs:
        at = n_common(a.ids, b.ids)
        if a.token(at) == b.token(at) is not None:  # the same token, which ends one side only
            runs_on += len(a.ids) == at < len(b.ids)
            stops += len(b.ids) == at < len(a.ids)
        if (a.ids, a.end is None) != (b.ids, b.end is None):
            cut["reference"] += a.token(at) is None
            cut["candidate"] += b.token(at) is None
    if runs_on:
        return (
            f"in {runs_on} of {len(pairs)} answers the candidate goes on where the reference "
            "stops: its end token is missing, or is not stopped at"
        )
    if stops:
        return (
            f"in {stops} of {len(pairs)} answers the candidate stops at a token where the "
            "reference goes on: the two have different stop tokens"
        )
    for name, n_cut in cut.items():
        if n_cut:
            return (
                f"{n_cut} of {len(pairs)} answers of the {name} are cut off where the other side "
                "goes on or ends: by a token limit, a full context, or a stop string"
            )
    return ""


def _not_greedy(pairs: Pairs) -> str:
    """Return whether a side takes other tokens than its likeliest where two answers part.

    If both do so, also where they agree, they may well choose by the same rule.
    """
    rule = "a repetition penalty, a temperature, a logit bias, a grammar"
    agreeing = [0, 0]
    for pair in pairs:
        for place in range(n_common(pair[0].ids, pair[1].ids)):
            for side in (0, 1):
                agreeing[side] += _is_overruled(pair[side], place)
    parting = [0, 0]
    for pair in pairs:
        at = n_common(pair[0].ids, pair[1].ids)
        if pair[0].token(at) != pair[1].token(at):
            for side in (0, 1):
                parting[side] += _is_overruled(pair[side], at)
    if not any(parting):
        return ""
    if all(agreeing):
        return (
            f"CANNOT TELL: something other than the model picks tokens on both sides ({rule}), so "
            "answers that part say nothing. Switch it off on both, and compare again"
        )
    name, n_taken = ("reference", parting[0]) if parting[0] else ("candidate", parting[1])
    return (
        f"NOT THE SAME: in {n_taken} of {len(pairs)} answers the {name} takes a token that is not "
        "its likeliest, just where the two part. Something other than the model picks the tokens: "
        f"{rule}"
    )


def _is_overruled(answer: Answer, place: int) -> bool:
    """Return whether an answer takes another token than its likeliest at a place."""
    of = answer.likeliest[place] if place < len(answer.likeliest) else {}
    token = answer.token(place)
    if not of or token is None:
        return False
    return of.get(token, -math.inf) < max(of.values()) - ROUNDING


def _nearness_of_base(pairs: Pairs, without_adapter: tuple[Answer, ...]) -> float:
    """Return how far the candidate is from the base, for each nat that it is from the reference.

    Below 1 it is nearer to the base. Infinite where there is nothing to compare, or nothing to
    tell apart.
    """
    firsts = list(zip(without_adapter, pairs, strict=False))
    from_tuned = [divergence(p, q) for p, q in places(pair for _, pair in firsts)]
    from_base = [divergence(p, q) for p, q in places((base, b) for base, (_, b) in firsts)]
    if not from_tuned or not from_base or not_numbers([(base, b) for base, (_, b) in firsts]):
        return math.inf
    distance, other = statistics.fmean(from_tuned), statistics.fmean(from_base)
    return other / distance if distance > NO_KL and other < ANOTHER_KL else math.inf


def _parts_untold(a: Answer, b: Answer) -> bool:
    """Return whether two answers part at a place where a side reports no probabilities."""
    at = n_common(a.ids, b.ids)
    told = all(at < len(x.likeliest) and x.likeliest[at] for x in (a, b))
    return a.token(at) != b.token(at) and not told


def is_near_tie(reference: Answer, candidate: Answer) -> bool:
    """Return whether the reference nearly went where the candidate went."""
    at = n_common(reference.ids, candidate.ids)
    if _parts_untold(reference, candidate) or at >= len(reference.likeliest):
        return False
    of = reference.likeliest[at]
    ours, theirs = (of.get(x.token(at), -math.inf) for x in (reference, candidate))
    return -ROUNDING <= ours - theirs < NEAR_TIE


def _around(text: str, other: str) -> str:
    """Return the place where a text leaves another, with a little before and after it."""
    at = n_common(text, other)
    return repr(text[max(at - 10, 0) : at + 30])
