"""The data sets of a trainer, of which any may be a stream: it has neither length nor index."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["N_OF_STREAM", "checked_rows", "evaluation_sets", "lengths", "plain"]

N_OF_STREAM = 10_000  # rows of a streamed data set that are looked at


def checked_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a data set that are looked at: all, or the first ones of a stream."""
    found = iter(rows) if hasattr(rows, "__len__") else itertools.islice(rows, N_OF_STREAM)
    return map(plain, found)


def plain(row: Any) -> Any:
    """Return a row whose tensors and arrays are lists and numbers; what is no row as it is."""
    if not isinstance(row, Mapping):
        return row
    return {name: _listed(value) for name, value in row.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, list) and value and hasattr(value[0], "tolist"):
        return [_listed(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def evaluation_sets(trainer: "Trainer") -> dict[str, Iterable[Mapping[str, Any]]]:
    """Return the data sets that a trainer evaluates on by their names, however many there are."""
    sets = trainer.eval_dataset
    if sets is None:
        return {}
    return dict(sets) if isinstance(sets, Mapping) else {"eval_dataset": sets}


def lengths(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return how many tokens each tokenized row has that is looked at."""
    if hasattr(rows, "select_columns"):  # so that no other column is decoded
        rows = rows.select_columns(["input_ids"])
    return [len(row["input_ids"]) for row in checked_rows(rows)]
