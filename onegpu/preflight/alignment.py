"""The rows of a data set found again in the batch that a collator made of them."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onegpu.chat import IGNORED
from onegpu.preflight.steps import Batch

__all__ = ["Aligned", "align", "n_equal"]

Table = list[list[int]]  # a column of a batch, (batch, seq)

N_ADDED = 4  # tokens that a collator may put before or after a row
SAME = 0.8  # of the tokens of a row that must be in the batch


@dataclasses.dataclass(frozen=True)
class Aligned:
    """One row and its place in a batch.

    Attributes:
        row: Of the data set, with all its columns; empty where it is not known.
        index: Its row in the batch.
        start: Its first position there.
        ids: The tokens in the batch.
        labels: Their labels in the batch; None where it has none.
        mask: Their attention mask; None where the batch has none of two dimensions.
        positions: Their position ids; None where the batch has none of two dimensions.
        is_same: Whether its tokens are those of the row, and those learned in the row too.
    """

    row: Mapping[str, Any]
    index: int
    start: int
    ids: list[int]
    labels: list[int] | None
    mask: list[int] | None
    positions: list[int] | None
    is_same: bool

    def learned(self) -> list[tuple[int, int]]:
        """Return the position and label of each token that the batch says is learned."""
        return [(t, n) for t, n in enumerate(self.labels or []) if n != IGNORED]


def align(batch: Batch) -> list[Aligned]:
    """Return the rows of a batch with their places in it.

    Args:
        batch: With `input_ids`.

    Returns:
        One for each row; or one for each row of the batch, where its rows are not known.
    """
    table = batch.inputs["input_ids"].tolist()
    columns = [_listed(batch, name) for name in ("labels", "attention_mask", "position_ids")]
    places = _places(batch, table, columns[1])
    return [_aligned(table, columns, *place) for place in places]


def _places(
    batch: Batch, table: Table, masks: Table | None
) -> Iterator[tuple[Mapping[str, Any], int, int, int]]:
    """Yield rows with their row in the batch, their first position and their length."""
    rows = [row for row in batch.rows if isinstance(row, Mapping) and "input_ids" in row]
    if len(rows) == len(batch.rows) == len(table):
        for index, (row, got) in enumerate(zip(_in_order(rows, table), table, strict=True)):
            yield row, index, _start(row["input_ids"], got), len(row["input_ids"])
    elif rows and len(table) == 1 and sum(len(row["input_ids"]) for row in rows) <= len(table[0]):
        start = 0
        for row in rows:
            yield row, 0, start, len(row["input_ids"])
            start += len(row["input_ids"])
    else:
        for index, got in enumerate(table):
            mask = masks[index] if masks and any(masks[index]) else [1] * len(got)
            row = batch.rows[index] if len(batch.rows) == len(table) else {}
            known = row if isinstance(row, Mapping) else {}
            yield known, index, mask.index(1), sum(mask)


def _in_order(rows: list[Mapping[str, Any]], table: Table) -> list[Mapping[str, Any]]:
    """Return rows in the order of the batch: a collator may sort them."""
    found = []
    for row, got in zip(rows, table, strict=True):
        same = [row] if _is_in(row, got) else [other for other in rows if _is_in(other, got)]
        found.append(same[0] if len(same) == 1 else row)
    return found


def _is_in(row: Mapping[str, Any], got: Sequence[int]) -> bool:
    """Return whether all tokens of a row are in a row of the batch."""
    ids = row["input_ids"]
    return n_equal(ids, got, _start(ids, got)) == len(ids)


def n_equal(ids: Sequence[int], got: Sequence[int], start: int) -> int:
    """Return how many tokens are where they are expected.

    Args:
        ids: Expected.
        got: A row of a batch.
        start: The position of the first one expected there.

    Returns:
        From 0 to the number of tokens.
    """
    return sum(a == b for a, b in zip(ids, got[start:], strict=False))


def _start(ids: Sequence[int], got: Sequence[int]) -> int:
    """Return the first position of a row in a padded one, to which a few tokens may be added."""
    last = max(0, len(got) - len(ids))
    starts = sorted({*range(min(N_ADDED, last) + 1), *range(max(0, last - N_ADDED), last + 1)})
    return max(starts, key=lambda start: n_equal(ids, got, start))


def _aligned(
    table: Table,
    columns: Sequence[Table | None],
    row: Mapping[str, Any],
    index: int,
    start: int,
    n: int,
) -> Aligned:
    span = slice(start, start + n)
    ids = table[index][span]
    parts = [column[index][span] if column else None for column in columns]
    return Aligned(row, index, start, ids, *parts, is_same=_is_same(row, ids))


def _is_same(row: Mapping[str, Any], ids: list[int]) -> bool:
    expected = row.get("input_ids")
    if expected is None:
        return True
    pairs = list(zip(expected, ids, strict=False))  # a collator may cut
    labels = row.get("labels", expected)
    learned = [pair for pair, label in zip(pairs, labels, strict=False) if label != IGNORED]
    return all(sum(a == b for a, b in p) >= SAME * len(p) for p in (pairs, learned))


def _listed(batch: Batch, name: str) -> Table | None:
    """Return a table of a batch as lists, if it has one of the shape of the tokens."""
    value = batch.inputs.get(name)
    if value is None or value.shape != batch.inputs["input_ids"].shape:
        return None
    return value.tolist()
