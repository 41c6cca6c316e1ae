"""What should be learned of the first rows, against what the trainer's loss teaches of them."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED
from onegpu.preflight.alignment import Aligned
from onegpu.preflight.findings import Tally
from onegpu.preflight.lesson import Lesson

if TYPE_CHECKING:
    import torch

__all__ = ["compare", "taught"]

FAINT, LOUD = 1e-3, 0.3  # of the usual strength: taught by accident, and on purpose
MOST, MANY, FEW = 0.8, 0.4, 0.1  # of tokens


def compare(batches: Sequence[Sequence[Aligned]], lessons: Sequence[Lesson], tally: Tally) -> None:
    """Compare batches with their rows, and what their loss teaches with their labels.

    Args:
        batches: The rows of the first ones of a trainer, with `labels`.
        lessons: What the trainer's own loss teaches of each, or of the first of them.
        tally: Where findings go.
    """
    rows = list(itertools.chain.from_iterable(batches))
    _tokens(rows, tally)
    _masks(rows, tally)
    _positions(rows, tally)
    _lost(rows, tally)
    for batch, found in zip(batches, lessons, strict=False):
        if not found.is_shown:
            _labels(batch, None, rows, tally)
        elif not bool(found.strength.any()):
            tally.state("weights-zero", "the loss of the first batch has no gradient at all")
        else:
            _labels(batch, found, rows, tally)


def _tokens(rows: Sequence[Aligned], tally: Tally) -> None:
    """Look for tokens that the collator exchanged, and for rows that it cut."""
    other = [row for row in rows if not row.is_same]
    swapped = [row for row in other if _owner(row.ids, row, rows)]
    if len(swapped) > MANY * len(rows):
        tally.state("answers-swapped", f"the collator, in {len(swapped)} of {len(rows)} rows")
    elif len(other) > MANY * len(rows):
        tally.state("tokens-differ", f"the collator, in {len(other)} of {len(rows)} rows")
    cut = [r for r in rows if r.is_same and len(r.ids) < len(r.row.get("input_ids", r.ids))]
    lost = [r for r in cut if any(n != IGNORED for n in r.row.get("labels", [])[len(r.ids) :])]
    if lost:
        tally.state("completion-cut", f"the collator, {len(lost)} of the first {len(rows)} rows")


def _owner(tokens: Sequence[int], row: Aligned, rows: Sequence[Aligned]) -> Aligned | None:
    """Return another row whose learned tokens are at the end of these, if there is one."""
    own = _answer(row)
    for other in rows:
        answer = _answer(other)
        if other.row is not row.row and answer != own and len(answer) > 1:
            n = len(answer)
            if any(list(tokens[at : at + n]) == answer for at in range(len(tokens) - n + 1)):
                return other
    return None


def _answer(row: Aligned) -> list[int]:
    """Return the tokens of a row that its data set says are learned."""
    ids = row.row.get("input_ids", row.ids)
    labels = row.row.get("labels", ids)
    return [i for i, label in zip(ids, labels, strict=False) if label != IGNORED]


def _masks(rows: Sequence[Aligned], tally: Tally) -> None:
    masks = [row.mask for row in rows if row.mask is not None and row.row.get("input_ids")]
    n_tokens = sum(map(len, masks))
    n_hidden = sum(mask.count(0) for mask in masks)
    if n_hidden > FEW * n_tokens:
        tally.state("attention-masked", f"{n_hidden:,} of {n_tokens:,} tokens of the first batches")


def _positions(rows: Sequence[Aligned], tally: Tally) -> None:
    """Look for positions that do not count up, but for where a packed sequence begins."""
    n_steps = n_wrong = 0
    for row in rows:
        found = row.positions or []
        steps = list(itertools.pairwise(found))
        n_steps += len(steps)
        n_wrong += sum(b - a != 1 and (b != 0 or a == 0) for a, b in steps)
    if n_wrong > FEW * n_steps:
        tally.state("positions-wrong", f"{n_wrong:,} of {n_steps:,} steps are not 1")


def _lost(rows: Sequence[Aligned], tally: Tally) -> None:
    """Look for labels that the collator masks, though the rows have masks of their own."""
    n_learned = n_lost = 0
    for row in rows:
        labels = row.row.get("labels", [])
        if row.labels is None or not row.is_same or IGNORED not in labels:
            continue
        # nothing is before the first token of a sequence that predicts it
        pairs = [(a, b) for a, b in zip(labels[1:], row.labels[1:], strict=False) if a != IGNORED]
        n_learned += len(pairs)
        n_lost += sum(b == IGNORED for _, b in pairs)
    if n_lost > MANY * n_learned:
        where = f"the collator masks {n_lost:,} of {n_learned:,} learned tokens"
        tally.state("weights-zero", where)


def _labels(
    rows: Sequence[Aligned], found: Lesson | None, known: Sequence[Aligned], tally: Tally
) -> None:
    """Compare the labels of a batch with its tokens, and with what the loss teaches."""
    pairs = [(row, t, label) for row in rows for t, label in row.learned()]
    if not pairs:
        return
    shares = {k: _share(row.ids[t + k : t + k + 1] == [n] for row, t, n in pairs) for k in (0, 1)}
    if found is None:
        is_right = max(shares.values()) > MANY
        lessons = {0: 1.0} if is_right else {}
    else:
        ahead = 1 if shares[1] > MOST > shares[0] else 0
        lessons = _lessons(rows, found, ahead, tally)
    if lessons.get(0, 0) > MANY:
        return
    shift = next((k for k, share in lessons.items() if k and share > MOST), 0)
    if shift:
        which = "the one after it" if shift > 0 else "the one before it"
        tally.state("labels-shifted", f"in place of the next token, {which} is taught")
    elif shares[0] < MANY:
        swapped = [row for row in rows if _owner([n for _, n in row.learned()], row, known)]
        code = "answers-swapped" if len(swapped) > MANY * len(rows) else "labels-differ"
        tally.state(code, f"{1 - shares[0]:.0%} of the labels are not the tokens of their row")
    elif found is not None:
        tally.state("loss-ignores-labels", "what it teaches are not the labels")


def _share(flags: Any) -> float:
    values = list(flags)
    return sum(values) / max(1, len(values))


def _lessons(rows: Sequence[Aligned], found: Lesson, ahead: int, tally: Tally) -> dict[int, float]:
    """Return how often the next token is taught (0), the one after it (1), or this one (-1)."""
    wanted, others = [], []
    strengths = found.strength.tolist()
    for row in rows:
        learned = {t - 1 + ahead for t, _ in row.learned()}
        for t in range(len(row.ids) - 1):
            strength = strengths[row.index][row.start + t]
            (wanted if t in learned else others).append((row, t, strength))
    taught_ones = [(row, t) for row, t, strength in wanted if strength]
    n_silent = len(wanted) - len(taught_ones)
    if n_silent > MANY * len(wanted):
        tally.state("weights-zero", f"{n_silent:,} of {len(wanted):,} labels of the first batch")
    n_extra = sum(strength > LOUD * found.usual for *_, strength in others)
    if n_extra > max(1, MANY * len(others)):
        where = f"{n_extra:,} of {len(others):,} tokens without a label are taught"
        tally.state("loss-ignores-labels", where)
    if n_silent > MOST * len(wanted):
        return {0: 1.0}  # nothing more can be said
    return _hits(taught_ones, found)


def _hits(places: Sequence[tuple[Aligned, int]], found: Lesson) -> dict[int, float]:
    """Return how often each token near a position is the one that is raised most there."""
    hits = {0: 0, 1: 0, -1: 0}
    for row, t in places:
        shifts = [k for k in hits if 0 <= t + 1 + k < len(row.ids)]
        ids = [row.ids[t + 1 + k] for k in shifts]
        ranks = found.ranks(row.index, row.start + t, ids)
        for k, rank in zip(shifts, ranks, strict=True):
            hits[k] += rank == 1
    return {k: n / max(1, len(places)) for k, n in hits.items()}


def taught(row: Aligned, found: Lesson) -> "torch.Tensor":
    """Return which tokens of a row are taught: the flags of its positions, the first one false."""
    strength = found.strength[row.index, row.start : row.start + len(row.ids)]
    flags = strength > FAINT * found.usual
    return flags.roll(1).index_fill(0, flags.new_zeros(1, dtype=int), False)
