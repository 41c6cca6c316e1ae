"""Whether answers are learned from their first token on."""

import collections
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from onegpu.chat import IGNORED, encode, template, trained_columns
from onegpu.preflight.alignment import Aligned
from onegpu.preflight.findings import Tally

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["examine"]

N_LEAST = 4  # answers that tell a habit from an accident
MOST = 0.9  # of the answers


def examine(
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[tuple[Aligned, Sequence[bool]]],
    tally: Tally,
) -> None:
    """Look for answers of which the same number of first tokens is not learned.

    Where all of them begin with the same tokens, those may be left out on purpose.

    Args:
        tokenizer: Of the trainer.
        rows: Each with which of its tokens are learned.
        tally: Where findings go.
    """
    parts = template(tokenizer)
    opening = parts.opening if parts else ""
    opens = tokenizer(opening, add_special_tokens=False)["input_ids"]
    missed = [m for row, learned in rows for m in _missed(tokenizer, row, learned, opens)]
    counts = collections.Counter(map(len, missed))
    for n, count in counts.most_common(1):
        several = len(set(missed)) > len(missed) / 2
        if n and count >= max(N_LEAST, MOST * len(missed)) and several:
            text = tokenizer.decode(missed[0])
            tally.state("answer-start-masked", f"{n} tokens of each answer, first {text!r}")


def _missed(
    tokenizer: "PreTrainedTokenizerBase",
    row: Aligned,
    learned: Sequence[bool],
    opens: Sequence[int],
) -> Iterator[tuple[int, ...]]:
    """Yield for each answer that is learned the tokens at its beginning that are not."""
    starts = _starts(tokenizer, row, opens)
    for start, end in itertools.pairwise([*starts, len(row.ids)]):
        first = next((t for t in range(start, end) if learned[t]), None)
        if first is not None:
            yield tuple(row.ids[start:first])


def _starts(tokenizer: "PreTrainedTokenizerBase", row: Aligned, opens: Sequence[int]) -> list[int]:
    """Return where answers begin, as far as it can be known."""
    if "prompt" in trained_columns(row.row):
        try:
            expected = encode(tokenizer, row.row)
        except ValueError:
            return []
        if expected["input_ids"][: len(row.ids)] == row.ids:
            labels = expected["labels"][: len(row.ids)]
            return [next((t for t, n in enumerate(labels) if n != IGNORED), len(row.ids))]
    n = len(opens)
    if not n:
        return []
    return [t + n for t in range(len(row.ids) - n) if row.ids[t : t + n] == opens]
