"""Answers that were cut: at their beginning, in mid-sentence, or in the number at their end."""

import collections
import re
from collections.abc import Sequence

from onegpu.preflight.findings import Tally

__all__ = ["examine"]

N_LEAST = 5  # answers
SOME, MOST, RARE = 0.1, 0.8, 0.05  # of answers
BAND = 0.2  # of a length
SHORT = 40  # characters, of which answers have as many by chance
NEAR, MANY = 0.1, 0.5  # of a length, and of the answers of nearly this length
CUT, FEW = 0.7, 0.2  # of these answers begin in mid-sentence, and of the others at most
INSIDE = tuple(".,;:!?)]")  # marks that begin no text
NUMBER = re.compile(r"\d+(?:[.,'’\u00a0\u202f]\d+)*")
SEPARATED = re.compile(r"(\d{1,3})(?:[.,'’\u00a0\u202f]\d{3})+")
SENTENCE = re.compile(r"[.!?]\s+\S")  # one ends, and another begins
THOUGHT = re.compile(r"\s*<(think(?:ing)?|thoughts?|reasoning|scratchpad)>", re.IGNORECASE)
ROUNDED = re.compile("thousand|round|million|digit|tausend|mille|mil|rund", re.IGNORECASE)


def examine(rows: Sequence[tuple[str, str]], tally: Tally) -> None:
    """Look for answers that are the end of one, and for results that are the beginning of one.

    Args:
        rows: Questions and answers, the first of a data set.
        tally: Where findings go.
    """
    _beginnings([answer for _, answer in rows], tally)
    _ends([answer for _, answer in rows], tally)
    _results(rows, tally)
    _thoughts([answer for _, answer in rows], tally)


def _beginnings(answers: Sequence[str], tally: Tally) -> None:
    """Look for one length that many answers have which begin in mid-sentence, unlike others."""
    different = {answer for answer in answers if len(answer) > SHORT and " " in answer.strip()}
    inside = collections.Counter(len(answer) for answer in different if _begins_inside(answer))
    length, n_inside = inside.most_common(1)[0] if inside else (0, 0)
    same = [answer for answer in different if len(answer) == length]
    n_near = sum(abs(len(answer) - length) <= NEAR * length for answer in different)
    if len(same) < max(N_LEAST, MANY * n_near) or n_inside < CUT * len(same):
        return
    others = [answer for answer in answers if len(answer) != length]
    n_others = sum(map(_begins_inside, others))
    if len(others) >= N_LEAST and n_others <= FEW * len(others):
        first = min(answer for answer in same if _begins_inside(answer))
        found = f"{len(same):,} answers of {length:,} characters begin in mid-sentence"
        tally.state("answers-cut", f"first {first[:SHORT]!r}", found=found)


def _ends(answers: Sequence[str], tally: Tally) -> None:
    """Look for a limit at which answers of several sentences end without a mark."""
    prose = {answer.rstrip() for answer in answers if SENTENCE.search(answer)}
    cut = sorted((a for a in prose if a[-1].isalpha() and "\n" not in a[-SHORT:]), key=len)
    if len(cut) < max(N_LEAST, SOME * len(prose)):
        return
    limit = len(cut[len(cut) // 2])
    n_near = sum(abs(len(answer) - limit) <= BAND * limit for answer in cut)
    n_longer = sum(len(answer) > (1 + BAND) * limit for answer in prose)
    if n_near >= MOST * len(cut) and n_longer <= RARE * len(prose):
        found = f"{len(cut):,} answers end in mid-sentence, and few are longer"
        tally.state("answers-cut", f"first {cut[0][-SHORT:]!r}", found=found)


def _begins_inside(answer: str) -> bool:
    """Return whether an answer begins with a small letter, or with a mark that ends something."""
    first = answer.lstrip()[:1]
    return first.islower() or first in INSIDE


def _results(rows: Sequence[tuple[str, str]], tally: Tally) -> None:
    """Look for last lines with nothing but the digits before a thousands separator."""
    n_whole, cut = 0, []
    for question, answer in rows:
        working, _, line = answer.rstrip().rpartition("\n")
        results, numbers = NUMBER.findall(line), NUMBER.findall(working)
        last = SEPARATED.fullmatch(numbers[-1]) if numbers else None
        if len(results) != 1 or not last:
            continue
        if results[0] == last[1] and not ROUNDED.search(question):
            cut.append(f"{last[0]} and then {line.strip()[:SHORT]}")
        n_whole += re.sub(r"\D", "", results[0]) == re.sub(r"\D", "", last[0])
    if len(cut) >= max(N_LEAST, MANY * (len(cut) + n_whole)):
        found = f"the results of {len(cut):,} answers end at a thousands separator"
        tally.state("answers-cut", cut[0], found=found)


def _thoughts(answers: Sequence[str], tally: Tally) -> None:
    """Look for thoughts that go on to the end of their answer."""
    opened = [(answer, mark[1]) for answer in answers if (mark := THOUGHT.match(answer))]
    cut = [answer for answer, name in opened if f"</{name}>" not in answer]
    if len(cut) > 1:
        found = f"{len(cut):,} of {len(opened):,} answers end inside of their thoughts"
        tally.state("answers-cut", f"first {cut[0].rstrip()[-SHORT:]!r}", found=found)
