"""Two sides in one vocabulary: ids, or texts where one of them tells no ids."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from onegpu.parity.answers import Answer, Place, Recording, Token

__all__ = ["NOT_APPLIED", "paired"]

NOT_APPLIED = "the candidate answers like the base model: its adapter is not applied"

PART_OF_A_CHARACTER = "\ufffd"
UNCLEAR = 1e-3  # of the probability at a place: tokens whose text is empty or no whole character


def paired(
    reference: Recording, candidate: Recording
) -> tuple[list[tuple[Answer, Answer]], dict[str, tuple[Answer, ...]]]:
    """Bring two recordings into one vocabulary.

    Where a side does not tell the tokens of its answers, or not as the other does, whole texts are
    compared. What it does not tell of a prompt or an end counts as the same.

    Args:
        reference: A side.
        candidate: The other, on the same prompts.

    Returns:
        Their answers in pairs; and the reference's first answers as they would be with a fault of
        its adapter, by this fault in words: `NOT_APPLIED` first, where there is an adapter.
    """
    texts = {**reference.texts, **candidate.texts}

    def in_common(answers: Sequence[Answer]) -> list[tuple[Answer, Answer]]:
        return [_in_common(*pair, texts) for pair in zip(answers, candidate.answers, strict=False)]

    faulty = {NOT_APPLIED: reference.without_adapter}
    for name, answers in reference.rescaled.items():
        faulty[f"the candidate's adapter is applied, at another scale: {name}"] = answers
    return in_common(reference.answers), {
        fault: tuple(a for a, _ in in_common(answers)) for fault, answers in faulty.items()
    }


def _in_common(a: Answer, b: Answer, texts: Mapping[int, str]) -> tuple[Answer, Answer]:
    if _has_texts(a) or _has_texts(b):
        a, b = _as_texts(a, texts), _as_texts(b, texts)
        if not a.likeliest or not b.likeliest:
            a, b = _whole(a), _whole(b)
    return _completed(a, b), _completed(b, a)


def _has_texts(answer: Answer) -> bool:
    tokens = (*answer.ids, *(token for place in answer.likeliest for token in place))
    return any(isinstance(token, str) for token in tokens)


def _as_texts(answer: Answer, texts: Mapping[int, str]) -> Answer:
    """Return an answer with texts for ids, or whole where its side does not tell them."""
    told = {token: texts.get(token, token) for place in answer.likeliest for token in place}
    ids = tuple(told.get(token, token) for token in answer.ids)
    if not all(isinstance(token, str) for token in ids):
        return _whole(answer)
    likeliest = [_place(place, told) for place in answer.likeliest]
    end = answer.end if answer.end is None else told.get(answer.end, answer.end)
    return dataclasses.replace(answer, ids=ids, end=end, likeliest=tuple(likeliest))


def _place(place: Place, told: Mapping[Token, Token]) -> Place:
    """Return the probabilities of texts: none where too much of it goes to tokens without one."""
    found = {told[token]: logarithm for token, logarithm in place.items()}
    clear = {text: x for text, x in found.items() if text and PART_OF_A_CHARACTER not in str(text)}
    unclear = sum(math.exp(found[text]) for text in found.keys() - clear.keys())
    return {} if unclear > UNCLEAR else clear


def _whole(answer: Answer) -> Answer:
    return dataclasses.replace(answer, ids=(answer.text.strip(),), likeliest=())


def _completed(answer: Answer, other: Answer) -> Answer:
    """Return an answer with what its side does not tell of the prompt and the end, as the other."""
    if None in answer.prompt_ids and len(answer.prompt_ids) in (1, len(other.prompt_ids)):
        answer = dataclasses.replace(
            answer, prompt_ids=other.prompt_ids, prompt_text=other.prompt_text
        )
    if answer.end == "" and other.end is not None:
        answer = dataclasses.replace(answer, end=other.end)
    return answer
