"""Kernels of attention, and batches that are full, padded or packed: what `attention` measures."""

import dataclasses
import functools
import importlib
import random
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention, softmax

from gpu_parts.varlen import attend

__all__ = ["FILLED", "KERNELS", "PACKAGES", "Batch", "batch_of", "kernel_of"]

FILLED = ("packed", "padded", "full")
SDPA = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
PACKAGES = {"FlashAttention 2": "flash_attn", "FlashAttention 3": "flash_attn_interface"}
KERNELS = ("varlen", *SDPA, "eager", *PACKAGES, "FlexAttention")
MEDIAN_DOCUMENT = 200  # tokens


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows of tokens, and what each may see.

    Attributes:
        documents: Id of each token's document, -1 for padding: (batch, seq).
        ends: Where documents end when padding is taken out, with a 0 before, as int32.
        longest: Tokens of the longest document.
        real: Index of the tokens that are no padding among all, or None where all are.
        mask: What sees what, as booleans: (batch, 1, seq, seq); None if every row is one document.
    """

    documents: torch.Tensor
    ends: torch.Tensor
    longest: int
    real: torch.Tensor | None
    mask: torch.Tensor | None


def batch_of(filled: str, *, n_rows: int, length: int, device: str) -> Batch:
    """Return rows that are full, padded or packed, the same ones each time.

    Args:
        filled: One of `FILLED`.
        n_rows: How many.
        length: Tokens of a row.
        device: Of the tensors.

    Returns:
        The batch. Padded rows are between a third and all of the length.
    """
    source = random.Random(0)
    documents = torch.zeros(n_rows, length, dtype=torch.long)
    for row in documents:
        if filled == "padded":
            row[source.randint(length // 3, length) :] = -1
        end = 0
        while filled == "packed" and end < length:
            row[end:] += 1
            end += max(1, round(source.lognormvariate(0, 0.8) * min(MEDIAN_DOCUMENT, length // 4)))
    documents = documents.to(device)
    real = (documents >= 0).flatten().nonzero()[:, 0]
    ids = (documents + torch.arange(n_rows, device=device)[:, None] * (length + 1)).flatten()[real]
    counts = torch.unique_consecutive(ids, return_counts=True)[1]
    return Batch(
        documents=documents,
        ends=pad(counts.cumsum(0), (1, 0)).to(torch.int32),
        longest=int(counts.max()),
        real=real if filled == "padded" else None,
        mask=None if filled == "full" else _mask(documents),
    )


def _mask(documents: torch.Tensor) -> torch.Tensor:
    """Return what sees what: earlier tokens of the same document, and padding what is real."""
    length = documents.shape[1]
    seen = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    same = (documents[:, :, None] == documents[:, None]) | (documents[:, :, None] < 0)
    return (seen & same & (documents[:, None] >= 0))[:, None]


def kernel_of(
    name: str, batch: Batch, *, dtype: torch.dtype
) -> tuple[Callable[..., torch.Tensor], torch.Tensor | None]:
    """Return a kernel for a batch, and the mask that it needs.

    Args:
        name: One of `KERNELS`.
        batch: See `batch_of`.
        dtype: Of the tensors.

    Returns:
        What takes query, key and value, each (batch, heads, seq, head_dim), and returns the shape
        of the query; and the mask, or None.

    Raises:
        ImportError: Its package is not there.
    """
    if name in SDPA:
        return functools.partial(_sdpa, mask=batch.mask, backend=SDPA[name]), batch.mask
    if name == "eager":
        seen = _mask(batch.documents)
        lowest = torch.finfo(dtype).min
        added = torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, lowest)
        return functools.partial(_eager, mask=added), added
    if name == "FlexAttention":
        return _flex(batch), None
    attention = attend if name == "varlen" else _package(PACKAGES[name])
    return functools.partial(_without_padding, batch=batch, attention=attention), None


def _sdpa(query: Any, key: Any, value: Any, *, mask: Any, backend: SDPBackend) -> torch.Tensor:
    groups = query.shape[1] // key.shape[1]
    if mask is not None and groups > 1:
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=mask is None and groups > 1,
        )


def _eager(query: Any, key: Any, value: Any, *, mask: torch.Tensor) -> torch.Tensor:
    """Attend as transformers does without a kernel: scores are rounded, weights are not."""
    groups = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + mask
    return softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value


def _without_padding(
    query: Any, key: Any, value: Any, *, batch: Batch, attention: Callable[..., torch.Tensor]
) -> torch.Tensor:
    """Attend to the real tokens alone, and put padding back where it was."""
    n_rows, heads, length, head_dim = query.shape
    flat = [tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, key, value)]
    if batch.real is not None:
        flat = [tensor[batch.real] for tensor in flat]
    result = attention(*flat, ends=batch.ends, longest=batch.longest)
    if batch.real is not None:
        padded = result.new_zeros(n_rows * length, heads, head_dim)
        result = padded.index_copy(0, batch.real, result)
    return result.view(n_rows, length, heads, head_dim).transpose(1, 2)


def _package(name: str) -> Callable[..., torch.Tensor]:
    """Return FlashAttention's own function, called as `varlen.attend` is."""
    function = importlib.import_module(name).flash_attn_varlen_func

    def attention(query: Any, key: Any, value: Any, *, ends: Any, longest: int) -> torch.Tensor:
        result = function(query, key, value, ends, ends, longest, longest, causal=True)
        return result[0] if isinstance(result, tuple) else result

    return attention


def _flex(batch: Batch) -> Callable[..., torch.Tensor]:
    """Return FlexAttention, compiled for the documents of a batch."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    documents = batch.documents

    def seen(row: Any, head: Any, query: Any, key: Any) -> torch.Tensor:
        return (query >= key) & (documents[row, query] == documents[row, key])

    n_rows, length = documents.shape
    blocks = create_block_mask(seen, n_rows, None, length, length, device=documents.device)
    torch._dynamo.reset()  # after a few other batches it would compile no more
    call = torch.compile(flex_attention, dynamic=False)
    return functools.partial(call, block_mask=blocks, enable_gqa=True)
