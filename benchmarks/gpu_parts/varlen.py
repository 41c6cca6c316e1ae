"""Attention over documents that lie behind each other in one row, each of which sees only itself.

Not a mask says where a document ends but the kernel: scores across documents are never computed. It
is FlashAttention 2 as torch itself ships it, so nothing must be installed. On a CPU, where there is
no such kernel, a mask says the same.
"""

import inspect
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["NAME", "attend", "register"]

NAME = "varlen"  # as an attention implementation of transformers
CAUSAL = (-1, 0)  # window: all that comes before, nothing that comes after
# Torch 2.11 takes fewer heads of keys as they are; newer ones want to be told.
GROUPED = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    ends: torch.Tensor,
    longest: int,
    scale: float | None = None,
) -> torch.Tensor:
    """Attend causally within each document.

    Args:
        query: Shape (tokens, heads, head_dim): all documents behind each other.
        key: Shape (tokens, key_heads, head_dim), with as many or fewer heads.
        value: As `key`.
        ends: Where documents end, as int32 on the device, with a 0 before: (documents + 1,).
        longest: Tokens of the longest document.
        scale: Of the scores; without it, 1 over the root of head_dim.

    Returns:
        Shape (tokens, heads, head_dim).
    """
    if query.is_cuda:
        cuts = (ends, ends, longest, longest)  # of queries and of keys
        return varlen_attn(query, key, value, *cuts, scale=scale, window_size=CAUSAL, **GROUPED)
    position = torch.arange(len(query), device=query.device)
    document = torch.bucketize(position, ends, right=True)
    seen = (document[:, None] == document) & (position[:, None] >= position)
    result = scaled_dot_product_attention(
        *(tensor.transpose(0, 1)[None] for tensor in (query, key, value)),
        attn_mask=seen,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return result[0].transpose(0, 1)


def register() -> str:
    """Make it an attention implementation of transformers, for rows without padding.

    trl's collator says where the documents of a packed row end, and transformers passes that on.
    No mask is built for an implementation that registers none.

    Returns:
        The name for `attn_implementation`.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attention)
    return NAME


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers asks: (1, heads, tokens, head_dim) to (1, tokens, heads, head_dim)."""
    if query.shape[0] != 1 or cu_seq_lens_q is None or max_length_q is None:
        raise ValueError(f"{NAME} attention is for packed or padding-free rows only")
    flat = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    result = attend(*flat, ends=cu_seq_lens_q, longest=max_length_q, scale=scaling)
    return result[None], None
