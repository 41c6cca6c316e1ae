"""What is wrong with the first batches of a trainer: its collator, its loss, its gradients."""

import contextlib
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED, end_ids
from onegpu.preflight import costs, decoded, expected, likelihood, reference, rewards, starts
from onegpu.preflight.alignment import Aligned, align
from onegpu.preflight.findings import Tally
from onegpu.preflight.lesson import Lesson, lesson
from onegpu.preflight.sequences import Sequences
from onegpu.preflight.setup import trainable_weights
from onegpu.preflight.steps import (
    Batch,
    errors_stated,
    first_batches,
    loss_of,
    without_a_trace,
)
from onegpu.preflight.streams import checked_rows

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["examine"]

N_ROWS = 8  # that are compared with their batches
N_LESSONS = 2  # batches whose loss is computed
ALPHA = 30  # NEFTune's paper tries 5, 10 and 15


def examine(trainer: "Trainer", sequences: Sequences, tally: Tally) -> bool:
    """Check the first batches of a trainer, and add what is wrong to a tally.

    Args:
        trainer: See `preflight.check`.
        sequences: What its rows were found to hold.
        tally: Where findings go.

    Returns:
        Whether a step can be taken.
    """
    n_embeddings = trainer.model.get_input_embeddings().weight.shape[0]
    if sequences.max_id >= n_embeddings:  # a forward pass would fail, and leave a GPU unusable
        where = f"token {sequences.max_id:,}, {n_embeddings:,} embeddings"
        tally.state("embeddings-too-few", where)
        return False
    with errors_stated(trainer, tally), without_a_trace(trainer):
        if hasattr(trainer, "reward_funcs"):
            rewards.examine(trainer, tally)
            return True
        return _examine(trainer, tally)
    return False


def _examine(trainer: "Trainer", tally: Tally) -> bool:
    if next(iter(trainer.train_dataset), None) is None:  # another finding says so
        return False
    size = max(1, trainer.args.per_device_train_batch_size)
    batches = first_batches(trainer, max(N_LESSONS, math.ceil(N_ROWS / size)))
    if not batches or "input_ids" not in batches[0].inputs:  # of a reward model
        return bool(batches)
    aligned = [align(batch) for batch in batches]
    _padding(trainer, batches[0], itertools.chain.from_iterable(aligned), tally)
    _noise(trainer, batches[0], tally)
    if "completion_mask" in batches[0].inputs:
        with contextlib.suppress(Exception):  # what the trainer's own pass says counts
            reference.examine(trainer, _causal(batches[0]), tally)
    n_before = tally.n_stated
    if "labels" in batches[0].inputs:
        _of_labels(trainer, batches, aligned, tally)
    elif "completion_mask" in batches[0].inputs:
        costs.examine(trainer, _causal(batches[0]), tally)
    is_wrong = tally.n_stated > n_before  # then gradients are, too
    return not is_wrong and _has_gradients(trainer, batches[0], tally)


def _of_labels(
    trainer: "Trainer", batches: Sequence[Batch], aligned: Sequence[list[Aligned]], tally: Tally
) -> None:
    """Compare what should be learned with what is, and with what the model knows."""
    tokenizer = trainer.processing_class
    rows = list(itertools.chain.from_iterable(aligned))
    if not any(row.learned() for row in rows):
        tally.state("nothing-learned", "the first batches")
        return
    _labels(tokenizer, rows, tally)
    lessons = [lesson(trainer, batch) for batch in batches[:N_LESSONS]]
    n_before = tally.n_stated
    expected.compare(aligned, lessons, tally)
    with contextlib.suppress(Exception):  # the trainer's own pass did not fail
        costs.examine(trainer, batches[0], tally, own=lessons[0].loss)
    if tally.n_stated == n_before:
        starts.examine(tokenizer, _learned(aligned, lessons), tally)
    if not getattr(trainer.args, "packing", False):
        first = itertools.islice(checked_rows(trainer.train_dataset), decoded.N_ROWS)
        tokenized = [row for row in first if "input_ids" in row]
        decoded.examine(tokenizer, tokenized, tally)
        with contextlib.suppress(Exception):
            likelihood.examine(trainer, tokenized, tally)


def _learned(
    batches: Sequence[list[Aligned]], lessons: Sequence[Lesson]
) -> list[tuple[Aligned, list[bool]]]:
    """Return the rows of batches, each with which of its tokens are learned."""
    found = []
    for number, batch in enumerate(batches):
        for row in batch:
            flags = [label != IGNORED for label in row.labels or []]
            if number < len(lessons) and lessons[number].is_shown:
                taught = expected.taught(row, lessons[number])
                flags = [a and b for a, b in zip(flags, taught, strict=True)]
            found.append((row, flags))
    return found


def _padding(trainer: "Trainer", batch: Batch, rows: Iterable[Aligned], tally: Tally) -> None:
    """Check the side of the padding, where there is any."""
    mask = batch.inputs.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return
    n_padded_left = int(((mask[:, 0] == 0) & mask.any(1)).sum())
    if n_padded_left and all(row.start for row in rows if row.mask and not row.mask[0]):
        tally.state("padding-side", f"{n_padded_left} rows of the first batch")


def _noise(trainer: "Trainer", batch: Batch, tally: Tally) -> None:
    """Compare the noise that NEFTune adds to embeddings with the embeddings."""
    import torch

    alpha = trainer.neftune_noise_alpha or 0.0
    if alpha <= ALPHA:
        return
    ids = trainer._prepare_inputs(dict(batch.inputs))["input_ids"]
    with torch.no_grad():
        vectors = trainer.model.get_input_embeddings()(ids).float()
    noise = alpha / math.sqrt(3 * vectors[0].numel())  # of a uniform distribution
    times = noise / float(vectors.square().mean().sqrt())
    if times > 1:
        found = f"NEFTune's noise is {times:.3g} times as large as the embeddings"
        fix = "neftune_noise_alpha=5, or none"
        tally.state("loss-too-high", f"neftune_noise_alpha={alpha:g}", found=found, fix=fix)


def _labels(tokenizer: Any, rows: Sequence[Aligned], tally: Tally) -> None:
    """Compare the labels of the batches with those of the rows."""
    ends = end_ids(tokenizer)
    for row in rows:
        wanted = row.row.get("labels", row.row.get("input_ids", []))
        if not row.is_same or row.labels is None or len(wanted) != len(row.labels):
            continue
        pairs = list(zip(wanted, row.labels, strict=True))[1:]
        learned = row.learned()
        if sum(row.ids[t] != label for t, label in learned) > len(learned) / 2:
            continue  # they are out of line, and all are compared elsewhere
        n_masked = sum(want != IGNORED and label == IGNORED for want, label in pairs)
        if n_masked > len(learned):
            continue  # and so are these
        if any(want in ends and label == IGNORED for want, label in pairs):
            tally.state("pad-is-eos", "the first batches")
        if any(want == IGNORED and label != IGNORED for want, label in pairs):
            tally.state("prompt-learned", "the collator overwrites labels of the first batches")


def _causal(batch: Batch) -> Batch:
    """Return a batch of prompts and completions with labels."""
    inputs = {name: batch.inputs[name] for name in ("input_ids", "attention_mask")}
    learned = batch.inputs["completion_mask"].bool()
    return Batch([], {**inputs, "labels": inputs["input_ids"].masked_fill(~learned, IGNORED)})


def _has_gradients(trainer: "Trainer", batch: Batch, tally: Tally) -> bool:
    """Return whether the loss reaches most trainable weights."""
    import torch

    weights = trainable_weights(trainer.model)
    if not weights:
        return False
    with torch.enable_grad():
        loss = loss_of(trainer, batch)
        if loss.requires_grad:
            loss.backward()
    # Behind a matrix B that is zero, as it is at first, no gradient reaches A
    reached = [(n, p) for n, p in weights if ".lora_A." not in n]
    idle = [n for n, p in reached if p.grad is None or not bool(p.grad.any())]
    if len(idle) > len(reached) / 2:
        tally.state("no-gradient", f"{len(idle)} of {len(reached)}, such as {idle[0]}")
        return False
    return True
