"""What the loss of a batch teaches: at which positions, and which tokens, read off its gradient.

Whatever a trainer's `compute_loss` does, it teaches a position something where its gradient for
the last hidden state there is not zero; and a step against that gradient, multiplied with the
output embeddings, raises most the token that is taught.
"""

import contextlib
import dataclasses
import functools
import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onegpu.preflight.steps import Batch, loss_of

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

__all__ = ["Lesson", "lesson"]

N_OTHERS = 64  # tokens of the vocabulary that a taught token is compared with


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What the loss of a batch teaches.

    Attributes:
        loss: Of the batch.
        pull: Minus the gradient for the last hidden states, (batch, seq, hidden); None where the
            model does not show them.
        embeddings: Those of the output, (vocab, hidden).
    """

    loss: float
    pull: "torch.Tensor | None"
    embeddings: "torch.Tensor | None"

    @functools.cached_property
    def is_shown(self) -> bool:
        """Whether the model shows what is taught, in numbers that are finite."""
        return self.pull is not None and bool(self.strength.isfinite().all())

    @functools.cached_property
    def strength(self) -> "torch.Tensor":
        """How much each position is taught, (batch, seq)."""
        return self.pull.float().norm(dim=-1)

    @functools.cached_property
    def usual(self) -> float:
        """The strength that half of the taught positions exceed."""
        return statistics.median([s for s in self.strength.flatten().tolist() if s > 0])

    def ranks(self, row: int, at: int, candidates: list[int]) -> list[float]:
        """Return how much a position raises each of some tokens, in units of the largest change.

        Args:
            row: Of the batch.
            at: The position whose hidden state predicts the next token.
            candidates: Token ids.

        Returns:
            For each 1 where nothing is raised more, neither among them nor among tokens chosen
            evenly from the vocabulary; -1 where nothing is lowered more.
        """
        import torch

        n_tokens = len(self.embeddings)
        others = range(0, n_tokens, max(1, n_tokens // N_OTHERS))
        ids = torch.tensor([*candidates, *others], device=self.embeddings.device)
        vectors = self.embeddings[ids].float()
        raised = (vectors - vectors.mean(0)) @ self.pull[row, at].float().to(vectors.device)
        return (raised / raised.abs().max().clamp(min=1e-30))[: len(candidates)].tolist()


def lesson(trainer: "Trainer", batch: Batch) -> Lesson:
    """Compute a trainer's own loss of a batch, and what it teaches.

    Args:
        trainer: Call it in a block of `steps.without_a_trace`.
        batch: One of its own.

    Returns:
        The loss and its gradient. No gradient goes through the layers of the model.
    """
    import torch

    decoder, embeddings = _decoder(trainer.model), trainer.model.get_output_embeddings()
    weight = getattr(embeddings, "weight", None)
    with torch.enable_grad(), _leaves(decoder) as leaves:
        loss = loss_of(trainer, batch)
        found = [None] * len(leaves)
        if loss.requires_grad and leaves:
            found = torch.autograd.grad(loss, leaves, allow_unused=True)
    value = float(loss.detach())
    n_batch, n_seq = batch.inputs["input_ids"].shape
    pulls = [
        -(torch.zeros_like(leaf) if gradient is None else gradient)[:, -n_seq:].detach()
        for leaf, gradient in zip(leaves, found, strict=True)
        if leaf.shape[0] == n_batch and leaf.shape[1] >= n_seq  # prompt tuning puts some before
    ]
    readable = weight is not None and weight.ndim == 2 and weight.is_floating_point()
    if not pulls or not readable or weight.shape[1] != pulls[0].shape[-1]:
        return Lesson(value, None, None)
    return Lesson(value, sum(pulls), weight.detach())


def _decoder(model: Any) -> Any:
    """Return the part of a causal language model that ends with the last hidden states."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = base.get_decoder() if hasattr(base, "get_decoder") else None
    return None if decoder is base else decoder


@contextlib.contextmanager
def _leaves(decoder: Any) -> Iterator[list["torch.Tensor"]]:
    """Cut the last hidden states of a decoder from what made them, and give them as a list."""
    import torch

    leaves: list[torch.Tensor] = []
    modes: list[bool] = []

    def before(module: Any, args: Any) -> None:
        modes.append(torch.is_grad_enabled())
        torch.set_grad_enabled(False)

    def after(module: Any, args: Any, output: Any) -> Any:
        if modes:
            torch.set_grad_enabled(modes.pop())
        leaf = output[0].detach().requires_grad_()
        leaves.append(leaf)
        if isinstance(output, tuple):
            return (leaf, *output[1:])
        output.last_hidden_state = leaf
        return output

    if decoder is None:
        yield leaves
        return
    handles = [
        decoder.register_forward_pre_hook(before),
        decoder.register_forward_hook(after),
    ]
    try:
        yield leaves
    finally:
        for handle in handles:
            handle.remove()
