"""What a comparison comes to, in words."""

import math
import statistics
from typing import TYPE_CHECKING

from helpers.chat import n_common
from helpers.parity.probabilities import Pairs, divergence, places, shared_probability
from helpers.parity.recording import Answer

if TYPE_CHECKING:
    from helpers.parity.comparison import Report

__all__ = ["SAME_KL", "is_near_tie", "verdict"]

SAME_KL = 1e-3  # nats; below it two distributions are taken as the same
WORST_KL = 0.1  # nats; the same for the one place at which they differ most
# Nats between two tokens of which either may come out likeliest: two steps of a BF16 number
# between 16 and 32, where the likeliest logits lie.
NEAR_TIE = 0.25
ANOTHER_KL = 0.5  # nats; quantization to 4 bits stays far below it
NO_KL = 1e-6  # nats; below it the difference is the rounding of 32-bit numbers
ROUNDING = 1e-3  # nats; how far below its likeliest token the one that a side takes may lie
ENOUGH = 0.5  # share of the places, and of the probability there, that must have been compared


def verdict(report: "Report", pairs: Pairs, without_adapter: tuple[Answer, ...]) -> str:
    """Return what a comparison comes to: the first fault that explains it.

    A false "same" is the worst that this module can say. So the last two lines are reached only
    where answers and probabilities are there, agree with each other, and were compared for most of
    the probability that there is.
    """
    for look in (_other_prompts, _not_numbers, _other_ends):
        if fault := look(pairs):
            return f"NOT THE SAME: {fault}"
    n, n_same = report.n_prompts, report.n_same_answers
    if report.n_places < ENOUGH * sum(max(n_common(a.ids, b.ids), 1) for a, b in pairs):
        if report.differences:
            return f"NOT THE SAME: {n - n_same} of {n} answers differ, and no probabilities say why"
        return "THE SAME ANSWERS, with too few probabilities to tell whether it is the same model"
    if _is_base(pairs, without_adapter):
        return "NOT THE SAME: the candidate answers as the base does, its adapter is not applied"
    if report.mean_kl > ANOTHER_KL:
        return "NOT THE SAME: its probabilities are those of another model: another base or adapter"
    if fault := _not_greedy(pairs):
        return f"NOT THE SAME: {fault}"
    held = statistics.fmean(shared_probability(p, q) for p, q in places(pairs))
    if held < ENOUGH:
        return (
            f"CANNOT TELL: only {held:.0%} of the probability lies on tokens that both sides tell "
            "of. Ask what the model is sure about"
        )
    alike = f"ALIKE: {n_same} of {n} answers are the same, and the probabilities differ"
    if report.mean_kl > SAME_KL or report.n_near_ties < len(report.differences):
        return f"{alike}, as they do after quantization"
    if report.worst_kl > WORST_KL:
        return f"{alike} at one place by {report.worst_kl:.2g} nats, though not on average"
    if report.differences:
        return "THE SAME MODEL, but for near-ties between tokens"
    return "THE SAME MODEL"


def _other_prompts(pairs: Pairs) -> str:
    """Return how the prompts' tokens differ, at the first prompt where they do."""
    for a, b in pairs:
        if a.prompt_ids == b.prompt_ids:
            continue
        if b.prompt_ids[1:] == a.prompt_ids:
            return "the candidate begins each prompt with one token more, a BOS twice"
        if a.prompt_text != b.prompt_text:
            return (
                "another chat template. The reference writes "
                f"{_around(a.prompt_text, b.prompt_text)}, the candidate "
                f"{_around(b.prompt_text, a.prompt_text)}"
            )
        at = n_common(a.prompt_ids, b.prompt_ids)
        return (
            "the same text is cut into other tokens, so the pre-tokenizer is another or is "
            f"missing: from token {at} on {a.prompt_ids[at : at + 4]} against "
            f"{b.prompt_ids[at : at + 4]}"
        )
    return ""


def _not_numbers(pairs: Pairs) -> str:
    """Return which side computes what is not a number, if one does."""
    for name, answers in zip(("reference", "candidate"), zip(*pairs, strict=True), strict=True):
        told = (place for answer in answers for place in answer.likeliest)
        if any(math.isnan(logarithm) for place in told for logarithm in place.values()):
            return (
                f"the {name}'s probabilities are not numbers (NaN): its number type overflows, or "
                "its weights are damaged. Load it in float32, and look at it there"
            )
    return ""


def _other_ends(pairs: Pairs) -> str:
    """Return what is wrong with where the answers end, though their tokens are the same so far."""
    runs_on, stops, cut = 0, 0, {"reference": 0, "candidate": 0}
    for a, b in pairs:
        at = n_common(a.ids, b.ids)
        ends = [x.ended and at == len(x.ids) for x in (a, b)]
        tokens = [_next_token(x, at) for x in (a, b)]
        runs_on += ends == [True, False] and at < len(b.ids) and tokens[0] in (tokens[1], None)
        stops += ends == [False, True] and at < len(a.ids) and tokens[0] == tokens[1]
        if (a.ids, a.ended) != (b.ids, b.ended):
            for name, x in (("reference", a), ("candidate", b)):
                cut[name] += at == len(x.ids) and not x.ended
    if runs_on:
        return (
            f"{runs_on} answers go on where the reference ends, so the end token is missing or is "
            "not stopped at"
        )
    if stops:
        return (
            f"{stops} answers end at a token where the reference goes on: one stops at more tokens"
        )
    for name, n_cut in cut.items():
        if n_cut:
            return (
                f"{n_cut} answers of the {name} are cut where the other side's go on or end: by a "
                "limit of tokens, its context, or a stop word"
            )
    return ""


def _not_greedy(pairs: Pairs) -> str:
    """Return which side takes other tokens than its likeliest, where two answers part."""
    for name, other in (("reference", 0), ("candidate", 1)):
        n_taken = 0
        for pair in pairs:
            answer, at = pair[other], n_common(pair[0].ids, pair[1].ids)
            if at < min(len(answer.ids), len(answer.likeliest)) and answer.likeliest[at]:
                of = answer.likeliest[at]
                n_taken += of.get(answer.ids[at], -math.inf) < max(of.values()) - ROUNDING
        if n_taken:
            return (
                f"{n_taken} answers of the {name} leave the other side's at a token that is not "
                "the likeliest. Something beside the model chooses: a repetition penalty, a "
                "temperature, a bias on tokens, a grammar"
            )
    return ""


def _is_base(pairs: Pairs, without_adapter: tuple[Answer, ...]) -> bool:
    """Return whether the candidate is much nearer to the reference without its adapter."""
    firsts = pairs[: len(without_adapter)]
    from_tuned = [divergence(p, q) for p, q in places(firsts)]
    bases = [(base, b) for base, (_, b) in zip(without_adapter, firsts, strict=True)]
    from_base = [divergence(p, q) for p, q in places(bases)]
    if not from_tuned or not from_base:
        return False
    distance = statistics.fmean(from_tuned)
    return distance > NO_KL and statistics.fmean(from_base) < distance / 10


def _next_token(answer: Answer, at: int) -> int | None:
    """Return the token that a side takes at a place: one of the answer, or the one that ends it."""
    if at < len(answer.ids):
        return answer.ids[at]
    if answer.ended and at < len(answer.likeliest) and answer.likeliest[at]:
        return max(answer.likeliest[at], key=answer.likeliest[at].get)
    return None


def is_near_tie(reference: Answer, candidate: Answer) -> bool:
    """Return whether the reference nearly went where the candidate went."""
    at = n_common(reference.ids, candidate.ids)
    if at >= len(reference.likeliest):
        return False
    of = reference.likeliest[at]
    ours, theirs = (of.get(_next_token(x, at), -math.inf) for x in (reference, candidate))
    return -ROUNDING <= ours - theirs < NEAR_TIE


def _around(text: str, other: str) -> str:
    """Return the place where a text leaves another, with a little before and after it."""
    at = n_common(text, other)
    return repr(text[max(at - 10, 0) : at + 30])
