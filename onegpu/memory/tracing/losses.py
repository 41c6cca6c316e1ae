"""Losses that never hold all logits: what they allocate, on `meta` tensors.

Their kernels work in place on tiles of the logits, so what they allocate is a list; nothing is
computed here.
"""

from typing import Any

import torch

__all__ = ["ChunkedLoss", "LigerLoss"]

TOKENS, WORDS = 4096, 32_768  # of a tile of trl's
N_STATISTICS = 7  # numbers that trl keeps for each token while it goes through the vocabulary


class ChunkedLoss(torch.autograd.Function):
    """trl's own loss, on a GPU.

    The positions that are learned are gathered, all of them here; their logits are made tile by
    tile, and made again in the backward pass, which adds up gradients in float32.

    Source: `trl.kernels.chunked_logprob` and `trl.trainer.utils.add_fused_lm_head` of trl 1.16
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, head: torch.Tensor, dtype: torch.dtype) -> Any:
        """Return the log-probability of each token: (batch * (seq - 1),), float32.

        Args:
            ctx: Of autograd.
            states: Hidden states, (batch, seq, hidden).
            head: Weight of the output layer, (vocabulary, hidden).
            dtype: In which the products are computed.

        Returns:
            As torch's `Function.apply` does.
        """
        ctx.dtype, ctx.shape = dtype, states.shape
        n = states.shape[0] * (states.shape[1] - 1)
        learned = states.new_empty(n, states.shape[2])
        statistics = [_numbers(states, n) for _ in range(N_STATISTICS)]
        tiles = _tiles(learned, head, dtype, is_backward=False)
        ctx.save_for_backward(learned, head, *statistics[:2])
        del tiles
        return _numbers(states, n)

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> Any:
        """Return the gradients of the hidden states and, if it is trained, of the weight.

        Args:
            ctx: Of autograd.
            *gradient: That of the log-probabilities.

        Returns:
            As torch's `Function.apply` does.
        """
        learned, head, *_ = ctx.saved_tensors
        of_states = _numbers(learned, *learned.shape)
        of_head = _numbers(head, *head.shape) if ctx.needs_input_grad[1] else None
        tiles = _tiles(learned, head, ctx.dtype, is_backward=True)
        lowered = of_states.to(learned.dtype), None if of_head is None else of_head.to(head.dtype)
        del tiles, of_states, of_head
        # the gradients of what was gathered, and of what was cut off before
        shifted = learned.new_empty(ctx.shape[0], ctx.shape[1] - 1, ctx.shape[2])
        gradients = lowered[1], None
        del lowered
        whole = learned.new_empty(ctx.shape)
        del shifted
        return whole, *gradients


def _numbers(like: torch.Tensor, *shape: int) -> torch.Tensor:
    return like.new_empty(shape, dtype=torch.float32)


def _tiles(
    states: torch.Tensor, head: torch.Tensor, dtype: torch.dtype, *, is_backward: bool
) -> list[torch.Tensor]:
    """Return what is left of a pass over all tiles: one of logits, and casts of what it is of."""
    tile = states.new_empty(min(len(states), TOKENS), WORDS, dtype=dtype)
    some_states = some_words = states
    for first in range(0, len(states), TOKENS):
        some_states = states[first : first + TOKENS].to(dtype)
        for word in range(0, len(head), WORDS):
            if not is_backward:
                some_words = states  # there, one is gone before the next one is made
            some_words = head[word : word + WORDS].to(dtype)
    return [tile, some_states, some_words]


class LigerLoss(torch.autograd.Function):
    """Liger's fused cross-entropy: chunks of tokens, and the gradients in the forward pass.

    Source: `liger_kernel.ops.fused_linear_cross_entropy` of liger-kernel 0.8.5
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, head: torch.Tensor, dtype: torch.dtype) -> Any:
        """Return the loss, a number.

        Args:
            ctx: Of autograd.
            states: Hidden states, (tokens, hidden).
            head: Weight of the output layer, (vocabulary, hidden).
            dtype: In which the products are computed.

        Returns:
            As torch's `Function.apply` does.
        """
        (n, hidden), n_words = states.shape, head.shape[0]
        of_states = torch.empty_like(states)
        of_head = torch.empty_like(head) if ctx.needs_input_grad[1] else None
        n_chunks = -(-n_words // hidden)
        chunk = min(n, 1 << (-(-n // n_chunks) - 1).bit_length())  # the next power of two
        cast = head.to(dtype)
        logits = states.new_empty(chunk, n_words, dtype=dtype)
        del logits, cast
        ctx.save_for_backward(of_states, of_head)
        return _numbers(states)

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> Any:
        """Return the gradients that the forward pass made.

        Args:
            ctx: Of autograd.
            *gradient: That of the loss.

        Returns:
            As torch's `Function.apply` does.
        """
        return (*ctx.saved_tensors, None)
