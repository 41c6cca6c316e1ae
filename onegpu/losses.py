"""Losses of a training step, computed where they count."""

from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED

if TYPE_CHECKING:
    from trl import SFTTrainer

__all__ = ["learned_tokens_loss"]


def learned_tokens_loss(
    trainer: "SFTTrainer",
    model: Any,
    inputs: dict[str, Any],
    return_outputs: bool = False,
    num_items_in_batch: Any = None,
) -> Any:
    """Return the mean cross-entropy of the learned tokens, in nats a token.

    It equals `SFTTrainer.compute_loss`, and computes logits only at positions that are followed
    by a learned token in some row of the batch.

    Args:
        trainer: Unused; `Trainer` calls this as a method.
        model: A causal language model.
        inputs: `input_ids`, `attention_mask` and `labels`, each of shape (batch, seq).
        return_outputs: Also return the model's output.
        num_items_in_batch: What to divide the sum by; without it, the number of learned tokens.

    Returns:
        The loss as a scalar tensor, with the model's output if asked for.
    """
    import torch

    inputs = dict(inputs)
    following = torch.nn.functional.pad(inputs.pop("labels")[:, 1:], (0, 1), value=IGNORED)
    positions = (following != IGNORED).any(dim=0).nonzero().squeeze(1)
    following = following[:, positions]  # (batch, positions)
    outputs = model(**inputs, use_cache=False, logits_to_keep=positions)
    logits = outputs.logits.float()  # (batch, positions, vocab)
    total = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), following.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    count = num_items_in_batch
    if count is None:
        count = (following != IGNORED).sum()
    return (total / count, outputs) if return_outputs else total / count
