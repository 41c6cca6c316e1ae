"""A trainer's own batches and its own loss, computed without leaving a trace in it."""

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.preflight.findings import Tally
from onegpu.preflight.restoring import models_of, restoring
from onegpu.preflight.streams import plain

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

__all__ = ["Batch", "errors_stated", "first_batches", "loss_of", "without_a_trace"]

ONE_PROCESS: dict[str, Any] = {  # of a data loader that is read for a few batches
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": None,
    "dataloader_persistent_workers": False,
    "dataloader_multiprocessing_context": None,
}


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch of a trainer's data loader, and the rows that its collator was given.

    Attributes:
        rows: With all their columns, those too that no model takes; none where the trainer's data
            loader uses no `data_collator`.
        inputs: What the model is given.
    """

    rows: list[Mapping[str, Any]]
    inputs: dict[str, Any]


def first_batches(trainer: "Trainer", n_batches: int) -> list[Batch]:
    """Return the first batches of a trainer's own data loader.

    Args:
        trainer: See `preflight.check`. Call it in a block of `without_a_trace`.
        n_batches: How many, if there are as many.

    Returns:
        The batches, in order.
    """
    collate, args, given = trainer.data_collator, trainer.args, []
    names = None
    if args.remove_unused_columns:
        if hasattr(trainer.train_dataset, "column_names") and hasattr(
            trainer.train_dataset, "data"
        ):
            trainer._remove_unused_columns(trainer.train_dataset)  # where none is left, an error
        trainer._set_signature_columns_if_needed()
        names = trainer._signature_columns

    def recording(rows: list[Any]) -> Any:
        given.append([plain(row) for row in rows])
        return collate([_with_columns(row, names) for row in rows])

    trainer.data_collator = recording
    args.remove_unused_columns = False
    inputs = list(itertools.islice(trainer.get_train_dataloader(), n_batches))
    rows = given if len(given) >= len(inputs) else [[] for _ in inputs]
    return [Batch(r, dict(i)) for r, i in zip(rows, inputs, strict=False)]


def _with_columns(row: Any, names: list[str] | None) -> Any:
    if names is None or not isinstance(row, dict):
        return row
    return {name: value for name, value in row.items() if name in names}


def loss_of(trainer: "Trainer", batch: Batch) -> "torch.Tensor":
    """Return the loss of a batch as a training step computes it.

    Args:
        trainer: Call it in a block of `without_a_trace`.
        batch: One of its own.

    Returns:
        A scalar.
    """
    inputs = trainer._prepare_inputs(dict(batch.inputs))
    count = trainer._get_num_items_in_batch([inputs], trainer.args.device)
    with trainer.compute_loss_context_manager():
        return trainer.compute_loss(trainer.model, inputs, num_items_in_batch=count)


@contextlib.contextmanager
def without_a_trace(trainer: "Trainer") -> Iterator[None]:
    """Put a trainer, its gradients, modes and random states back as they were at the end.

    Within, it is ready for a step as `train()` makes it, but without dropout, and its data loader
    is read in one process. Its model is in training mode, and never in evaluation mode, in which
    bitsandbytes rearranges 4-bit weights for good.

    Args:
        trainer: See `preflight.check`.
    """
    import torch

    with restoring(trainer), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in ONE_PROCESS.items():
            setattr(trainer.args, name, value)
        trainer.model.train()
        _without_dropout(trainer)
        _checkpoint(trainer)
        trainer.current_gradient_accumulation_steps = 1
        torch.manual_seed(trainer.args.seed)  # the same rows in each check
        yield


def _without_dropout(trainer: "Trainer") -> None:
    import torch

    for module in (module for model in models_of(trainer) for module in model.modules()):
        for name, value in list(module.__dict__.items()):
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0


def _checkpoint(trainer: "Trainer") -> None:
    """Turn activation checkpointing on where `train()` would, with the same settings."""
    args = trainer.args
    if args.activation_checkpointing and hasattr(trainer.model, "activation_checkpointing_enable"):
        settings = dict(args.activation_checkpointing_kwargs or {})
        own = {
            name: settings.pop(name) for name in ("every_n_layers", "offload") if name in settings
        }
        trainer.model.activation_checkpointing_enable(
            activation_checkpointing_kwargs=settings or None, **own
        )


@contextlib.contextmanager
def errors_stated(trainer: "Trainer", tally: Tally) -> Iterator[None]:
    """End a block at an error, and add it to a tally: `train()` would end with it, too.

    Where memory runs out, it need not: the check keeps copies that training does not.

    Args:
        trainer: See `preflight.check`.
        tally: Where findings go.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        tally.state("not-rehearsed", f"out of memory on {trainer.args.device}")
    except Exception as error:  # of a model, a collator, a loss, an optimizer
        lines = str(error).strip().splitlines() or [""]
        tally.state("step-fails", f"{type(error).__name__}: {lines[0][:200]}")
