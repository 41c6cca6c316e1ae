"""What is wrong with the first batch of a trainer: its collator, its loss, its gradients."""

import contextlib
import math
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED, collate, end_ids, first_rows
from onegpu.generation import keeping_modes
from onegpu.losses import learned_tokens_loss
from onegpu.preflight.findings import Tally
from onegpu.preflight.sequences import Sequences
from onegpu.preflight.setup import trainable_weights

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

    from onegpu.preflight.setup import Weights

__all__ = ["examine"]


def examine(trainer: "Trainer", sequences: Sequences, tally: Tally) -> None:
    """Check the first batch of a trainer, and add what is wrong to a tally.

    Args:
        trainer: See `preflight.check`.
        sequences: What its rows were found to hold.
        tally: Where findings go.
    """
    rows = first_rows(trainer)
    if not rows:
        return
    batch = _batch(trainer, rows)
    _collator(trainer, rows, batch, tally)
    n_embeddings = trainer.model.get_input_embeddings().weight.shape[0]
    if sequences.max_id >= n_embeddings:  # a forward pass would fail, and leave a GPU unusable
        where = f"token {sequences.max_id:,}, {n_embeddings:,} embeddings"
        tally.state("embeddings-too-few", where)
        return
    _first_step(trainer, batch, tally)


def _batch(trainer: "Trainer", rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a batch as for SFT, whatever the trainer: with labels where tokens are learned."""
    if "input_ids" in rows[0]:
        return collate(trainer, rows)
    # No part of this batch, and an error of the collator where it is a text
    batch = trainer.data_collator([{**row, "label": True} for row in rows])
    causal = {name: batch[name] for name in ("input_ids", "attention_mask")}
    if "completion_mask" in batch:
        learned = batch["completion_mask"].bool()
        causal["labels"] = batch["input_ids"].masked_fill(~learned, IGNORED)
    return causal


def _collator(
    trainer: "Trainer", rows: list[Mapping[str, Any]], batch: dict[str, Any], tally: Tally
) -> None:
    """Compare the batch with the rows that went into it."""
    mask = batch.get("attention_mask")
    if mask is None:
        return
    n_padded_left = int((mask[:, 0] == 0).sum())
    if n_padded_left:
        tally.state("padding-side", f"{n_padded_left} rows of the first batch")
    if len(mask) != len(rows) or "labels" not in batch or "input_ids" not in rows[0]:
        return  # several rows in one, or answers in pairs
    ends = end_ids(trainer.processing_class)
    for number, (row, keep) in enumerate(zip(rows, mask.bool(), strict=True)):
        wanted = list(row.get("labels", row["input_ids"]))
        got = batch["labels"][number][keep].tolist()
        if len(wanted) != len(got):
            continue
        pairs = list(zip(wanted, got, strict=True))
        if any(want in ends and label == IGNORED for want, label in pairs):
            tally.state("pad-is-eos", f"train_dataset[{number}] in the first batch")
        if any(want == IGNORED and label != IGNORED for want, label in pairs):
            tally.add("prompt-learned", f"train_dataset[{number}]", "its labels are overwritten")


def _first_step(trainer: "Trainer", batch: dict[str, Any], tally: Tally) -> None:
    """Compute the loss and the gradients of the first batch, and put everything back."""
    weights = trainable_weights(trainer.model)
    if not weights or "labels" not in batch or not bool((batch["labels"] != IGNORED).any()):
        return
    with _training_without_a_trace(trainer.model, weights):
        loss = _loss(trainer, batch)
        if loss.requires_grad:
            loss.backward()
        # Behind a matrix B that is zero, as it is at first, no gradient reaches A
        expected = [(n, p) for n, p in weights if ".lora_A." not in n]
        idle = [n for n, p in expected if p.grad is None or not bool(p.grad.any())]
    worst = math.log(trainer.model.config.get_text_config().vocab_size)
    if not math.isfinite(loss.item()) or loss.item() > worst + 0.5:
        tally.state("loss-too-high", f"{loss.item():.1f} nats a token; guessing costs {worst:.1f}")
    if len(idle) > len(expected) / 2:
        tally.state("no-gradient", f"{len(idle)} of {len(expected)}, such as {idle[0]}")


def _loss(trainer: "Trainer", batch: dict[str, Any]) -> "torch.Tensor":
    import torch

    on_device = dict(batch)
    for name, value in batch.items():
        if isinstance(value, torch.Tensor):
            on_device[name] = value.to(trainer.args.device)
    with trainer.compute_loss_context_manager():
        return learned_tokens_loss(trainer, trainer.model, on_device)


@contextlib.contextmanager
def _training_without_a_trace(model: "torch.nn.Module", weights: "Weights") -> Iterator[None]:
    """Train a model, and put gradients, random states and training modes back as they were."""
    import numpy as np
    import torch

    gradients = [p.grad for _, p in weights]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    for _, p in weights:
        p.grad = None
    try:
        with keeping_modes(model), torch.random.fork_rng(), torch.enable_grad():
            model.train()
            yield
    finally:
        for (_, p), gradient in zip(weights, gradients, strict=True):
            p.grad = gradient
        random.setstate(python_state)
        np.random.set_state(numpy_state)
