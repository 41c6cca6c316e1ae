"""What makes two sides differ, whatever their probabilities: prompts, numbers, ends."""

from onegpu.chat import n_common
from onegpu.parity.answers import Answer
from onegpu.parity.probabilities import ROUNDING, Pairs

__all__ = ["not_numbers", "other_ends", "other_prompts"]


def other_prompts(pairs: Pairs) -> str:
    """Return how the prompts' tokens differ, at the first prompt where they do.

    Args:
        pairs: The answers of both sides.

    Returns:
        The fault in words, or an empty string.
    """
    for a, b in pairs:
        if a.prompt_ids == b.prompt_ids:
            continue
        if None in a.prompt_ids or None in b.prompt_ids:
            return (
                f"the reference's prompt has {len(a.prompt_ids)} tokens, the candidate's "
                f"{len(b.prompt_ids)}: another chat template, another system message, or a BOS"
            )
        if b.prompt_ids[1:] == a.prompt_ids:
            twice = "a BOS twice" if b.prompt_ids[:1] == a.prompt_ids[:1] else "a BOS of its own"
            return f"the candidate puts one more token before the prompt, {twice}"
        if a.prompt_ids[1:] == b.prompt_ids:
            return "the candidate leaves out the first token of the prompt, its BOS"
        if a.prompt_text and b.prompt_text and a.prompt_text != b.prompt_text:
            return (
                "another chat template: the reference writes "
                f"{_around(a.prompt_text, b.prompt_text)}, the candidate "
                f"{_around(b.prompt_text, a.prompt_text)}"
            )
        at = n_common(a.prompt_ids, b.prompt_ids)
        cause = "the same text becomes other tokens, so the pre-tokenizer is another or is missing"
        if not a.prompt_text or not b.prompt_text:
            cause = "the prompt becomes other tokens: another chat template, or pre-tokenizer"
        return (
            f"{cause}: from token {at} on {a.prompt_ids[at : at + 4]} against "
            f"{b.prompt_ids[at : at + 4]}"
        )
    return ""


def not_numbers(pairs: Pairs) -> str:
    """Return which side computes what are no probabilities, if one does.

    Args:
        pairs: The answers of both sides.

    Returns:
        The fault in words, or an empty string.
    """
    sides = {"reference": [a for a, _ in pairs], "candidate": [b for _, b in pairs]}
    for name, answers in sides.items():
        if not all(_has_probabilities(answer) for answer in answers):
            return (
                f"the {name}'s probabilities are not numbers from 0 to 1 (NaN?): its number type "
                "overflows, or its weights are damaged. Load it in float32, and compare again"
            )
    return ""


def _has_probabilities(answer: Answer) -> bool:
    """Return whether all that an answer tells of its tokens are logarithms of probabilities."""
    for place in answer.likeliest:
        if not all(logarithm < ROUNDING for logarithm in place.values()):  # NaN is below nothing
            return False
    return True


def other_ends(pairs: Pairs) -> str:
    """Return what is wrong with where the answers end, though their tokens are the same so far.

    Args:
        pairs: The answers of both sides.

    Returns:
        The fault in words, or an empty string.
    """
    runs_on, stops, cut = 0, 0, {"reference": 0, "candidate": 0}
    for a, b in pairs:
        if a.equals(b):
            continue
        at = n_common(a.ids, b.ids)
        ours, theirs = a.token(at), b.token(at)
        if ours is None:
            cut["reference"] += 1
        if theirs is None:
            cut["candidate"] += 1
        # The same token, which ends one side only
        if ours is not None and ours == theirs:
            if at == len(a.ids):
                runs_on += 1
            else:
                stops += 1
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


def _around(text: str, other: str) -> str:
    """Return the place where a text leaves another, with a little before and after it."""
    at = n_common(text, other)
    return repr(text[max(at - 10, 0) : at + 30])
