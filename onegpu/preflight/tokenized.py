"""Rows that are token ids already: whether they are those of the tokenizer, and what is learned."""

from collections.abc import Mapping, Sequence
from typing import Any

from onegpu.chat import IGNORED
from onegpu.preflight.conversations import Problem

__all__ = ["labels", "problem"]


def labels(row: Mapping[str, Any]) -> Sequence[int]:
    """Return the labels that trl gives a row of token ids: its own, or all that no mask hides."""
    if "labels" in row:
        return row["labels"]
    ids, mask = row["input_ids"], row.get("assistant_masks")
    if not _are_integers(mask):
        return ids
    return [token_id if bit else IGNORED for token_id, bit in zip(ids, mask, strict=False)]


def problem(row: Mapping[str, Any], n_tokens: int) -> Problem | None:
    """Return what is wrong with a row of token ids, if something is.

    Args:
        row: With `input_ids`.
        n_tokens: How many tokens the tokenizer has.

    Returns:
        A code and a detail, or None.
    """
    ids = row["input_ids"]
    if not _are_integers(ids):
        return "unknown-columns", "input_ids holds no list of integers"
    found = labels(row)
    if not _are_integers(found) or len(found) != len(ids):
        return "unknown-columns", "labels holds no list of as many integers as input_ids"
    unknown = [token_id for token_id in ids if not 0 <= token_id < n_tokens]
    return ("unknown-ids", f"{unknown[0]:,} of {n_tokens:,}") if unknown else None


def _are_integers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)
