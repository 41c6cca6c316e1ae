"""What the learned tokens of a batch cost, against guessing them."""

import math
from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED
from onegpu.preflight.findings import Tally
from onegpu.preflight.steps import Batch

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

__all__ = ["examine", "token_costs"]

N_POSITIONS = 1024  # of which all logits are kept
WORSE, SHARE, N_TOKENS = 3.0, 0.15, 50  # nats worse than guessing, of so many tokens at least


def examine(trainer: "Trainer", batch: Batch, tally: Tally, *, own: float = math.inf) -> None:
    """Compare what learned tokens cost with guessing, and add what is wrong to a tally.

    Args:
        trainer: Call it in a block of `steps.without_a_trace`.
        batch: One of its own, with `labels`.
        tally: Where findings go.
        own: The trainer's own loss.
    """
    worst = math.log(trainer.model.config.get_text_config().vocab_size)
    costs, ids = token_costs(trainer, trainer.model, batch)
    if not len(costs):
        return
    loss = min(own, float(costs.mean()))
    if not math.isfinite(float(costs.mean())) or loss > worst + 0.5:
        tally.state("loss-too-high", f"{loss:.1f} nats a token; guessing costs {worst:.1f}")
        return
    added = set(trainer.processing_class.added_tokens_decoder)
    usual = [c for c, i in zip(costs.tolist(), ids.tolist(), strict=True) if i not in added]
    n_worse = sum(cost > worst + WORSE for cost in usual)
    if len(usual) >= N_TOKENS and n_worse > SHARE * len(usual):
        where = f"{n_worse} of {len(usual)} tokens cost over {worst + WORSE:.1f} nats"
        tally.state(
            "loss-too-high", where, found="many tokens are far less likely than by guessing"
        )


def token_costs(
    trainer: "Trainer", model: Any, batch: Batch
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return what the learned tokens of some rows cost by plain cross-entropy, and their ids.

    Args:
        trainer: Call it in a block of `steps.without_a_trace`.
        model: The trainer's, or another with the same tokens.
        batch: One of the trainer's own, with `labels`.

    Returns:
        A cost in nats and an id for each token.
    """
    import torch

    inputs = trainer._prepare_inputs(dict(batch.inputs))
    n_batch, n_seq = inputs["input_ids"].shape
    n_rows = max(1, N_POSITIONS // n_seq)
    inputs = {
        name: value[:n_rows, :N_POSITIONS]
        for name, value in inputs.items()
        if isinstance(value, torch.Tensor) and value.shape == (n_batch, n_seq)
    }
    labels = inputs.pop("labels")
    names = ("input_ids", "attention_mask", "position_ids", "token_type_ids")
    inputs = {name: value for name, value in inputs.items() if name in names}
    with torch.no_grad(), trainer.compute_loss_context_manager():
        logits = model(**inputs).logits
    logits = logits[:, -labels.shape[1] :][:, :-1]  # prompt tuning puts some before
    is_learned = labels[:, 1:] != IGNORED
    ids = inputs["input_ids"][:, 1:][is_learned]
    costs = torch.nn.functional.cross_entropy(logits[is_learned].float(), ids, reduction="none")
    return costs, ids
