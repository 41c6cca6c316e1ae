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
    """Return the first rows of a trainer's data as its collator makes them a batch, on the CPU."""
    return collate(trainer, first_rows(trainer))


def first_rows(trainer: "Trainer") -> list[Mapping[str, Any]]:
    """Return the first rows of a trainer's data, at most a batch of them; it may be a stream."""
    size = trainer.args.per_device_train_batch_size
    return list(itertools.islice(trainer.train_dataset, size))


def collate(trainer: "Trainer", rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows as a trainer's collator makes them a batch, on the CPU."""
    return dict(
        trainer.data_collator([{k: row[k] for k in MODEL_COLUMNS if k in row} for row in rows])
    )
