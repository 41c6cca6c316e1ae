"""The first rows of a trainer, as its collator makes them a batch.

Taught in: notebooks/04_formatting.ipynb
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["collate", "first_batch", "first_rows"]

MODEL_COLUMNS = ("input_ids", "attention_mask", "labels", "seq_lengths", "position_ids")


def first_batch(trainer: "Trainer") -> dict[str, Any]:
    """Return the first batch of a trainer's data, as its collator makes it.

    Args:
        trainer: Of tokenized rows.

    Returns:
        What the model is given, on the CPU.
    """
    return collate(trainer, first_rows(trainer))


def first_rows(trainer: "Trainer") -> list[Mapping[str, Any]]:
    """Return the first rows of a trainer's data.

    Args:
        trainer: Its data set may be a stream.

    Returns:
        As many rows as a batch has, or fewer where there are no more.
    """
    size = trainer.args.per_device_train_batch_size
    return list(itertools.islice(trainer.train_dataset, size))


def collate(trainer: "Trainer", rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows as one batch, as a trainer's collator makes it.

    Args:
        trainer: Whose collator is used.
        rows: Tokenized; columns that no model takes are left out.

    Returns:
        What the model is given, on the CPU.
    """
    kept = [{name: row[name] for name in MODEL_COLUMNS if name in row} for row in rows]
    return dict(trainer.data_collator(kept))
