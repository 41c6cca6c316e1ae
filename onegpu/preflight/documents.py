"""Texts of which one begins with the end of another: chunks that were cut with an overlap."""

from collections.abc import Sequence

from onegpu.preflight.findings import Tally

__all__ = ["examine"]

N_LEAST = 5  # texts
MANY = 0.3  # of them
LENGTH = 40  # characters that two texts do not share by chance
MOST = 2000  # characters of an overlap


def examine(texts: Sequence[str], tally: Tally) -> None:
    """Look for ends that are beginnings of other texts, and add them to a tally.

    Args:
        texts: The first of a data set.
        tally: Where findings go.
    """
    if len(texts) < N_LEAST:
        return
    stripped = [text.strip() for text in texts]
    starts: dict[str, int] = {}
    for number, text in enumerate(stripped):
        if len(text) > LENGTH:
            starts[text[:LENGTH]] = -1 if text[:LENGTH] in starts else number
    shared = {}  # what is shared: the texts that end and begin with it
    for number, text in enumerate(stripped):
        for place in range(max(1, len(text) - MOST), len(text) - LENGTH + 1):
            other = starts.get(text[place : place + LENGTH], -1)
            if other not in (-1, number) and stripped[other].startswith(text[place:]):
                shared[text[place:]] = number, other
                break
    if len(shared) < max(N_LEAST, MANY * len(texts)):
        return
    (end, (number, other)), *_ = shared.items()
    found = f"{len(shared):,} of {len(texts):,} texts begin with the end of another"
    found += ": cut them without an overlap"
    tally.state("duplicate-rows", f"{len(end):,} characters: {end[:LENGTH]!r}", found=found)
