"""The least time that a fine-tune can take on a card, from what the card itself reaches.

Two bounds, of which the larger is the floor. Operations: every product of matrices that the result
needs, over the rate that the card's own library reaches on one large product. Bytes: every frozen
weight that must come out of the memory, over the rate of one large copy. Activations, adapters and
optimizer are not among the bytes, and what is no product is not among the operations: all of them
come on top.

LoRA on frozen weights needs 4 operations a weight and token, not 6: 2 in the forward pass and 2 for
the gradient of the input in the backward pass, but none for the gradient of the weight. The
adapter's own small matrices need all 6. Checkpointing runs the layers' forward pass again: 2 more.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["BYTES_A_WEIGHT", "floor", "operations", "rates", "weight_bytes"]

BYTES_A_WEIGHT = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "nf4-double": 0.5}
N_TIMES, N_CALLS = 3, 10
MATRIX, MATRIX_CPU = 8192, 256  # rows and columns
COPY_BYTES, COPY_BYTES_CPU = 2**30, 2**20


@functools.cache
def rates(device: str) -> dict[str, list[float]]:
    """Measure what a device reaches.

    Args:
        device: `"cuda"` or `"cpu"`.

    Returns:
        Operations a second of a large product of matrices, by number type, and `"copy"`: bytes a
        second, read and written ones together. Three times each.
    """
    on_gpu = device == "cuda"
    size, n_bytes = (MATRIX, COPY_BYTES) if on_gpu else (MATRIX_CPU, COPY_BYTES_CPU)
    found = {}
    for name in ("bfloat16", "float16"):
        matrix = torch.randn(size, size, device=device).to(getattr(torch, name))
        result = torch.empty_like(matrix)
        product = functools.partial(torch.mm, matrix, matrix, out=result)
        found[name] = [2 * size**3 / seconds for seconds in _seconds(product, device)]
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=device)
    copy = functools.partial(torch.empty_like(source).copy_, source)
    found["copy"] = [2 * n_bytes / seconds for seconds in _seconds(copy, device)]
    return found


def _seconds(call: Callable[[], Any], device: str) -> list[float]:
    """Return the seconds of a call, measured several times over many calls each."""
    found = []
    for _ in range(1 + N_TIMES):  # the first time is the warm-up
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(N_CALLS):
            call()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append((time.perf_counter() - start) / N_CALLS)
    return found[1:]


def operations(
    config: Any, lengths: Sequence[int], *, rank: int, checkpointing: bool = False
) -> float:
    """Return the operations of one pass over rows with LoRA on all linear layers.

    Attention is counted as causal, each row on its own. The output layer is not asked about the
    last token of a row. The gradient of the first layer's input, which nobody needs, is counted
    all the same: it is less than 1 in 100.

    Args:
        config: A configuration of transformers.
        lengths: Tokens of the rows, without padding.
        rank: Of the adapters.
        checkpointing: Whether the layers' forward pass is run twice.

    Returns:
        Additions and multiplications, forward and backward.
    """
    n_tokens = sum(lengths)
    frozen = sum(inputs * outputs for inputs, outputs in _matrices(config))
    adapter = sum(rank * (inputs + outputs) for inputs, outputs in _matrices(config))
    width = config.num_attention_heads * config.head_dim
    # Two products of scores; a query at position p sees p keys.
    attention = 2 * 2 * width * sum(length * (length + 1) // 2 for length in lengths)
    forward = 2 * (frozen + adapter) * n_tokens + attention
    backward = (2 * frozen + 4 * adapter) * n_tokens + 2 * attention
    layers = config.num_hidden_layers * (forward * (2 if checkpointing else 1) + backward)
    head = 4 * config.vocab_size * config.hidden_size * (n_tokens - len(lengths))
    return layers + head


def weight_bytes(config: Any, *, weights: str, dtype: str, checkpointing: bool = False) -> float:
    """Return the bytes of frozen weights that one step must read.

    Args:
        config: A configuration of transformers.
        weights: Number type of the layers, a key of `BYTES_A_WEIGHT`.
        dtype: Of the output layer, which is never quantized.
        checkpointing: Whether the layers are read three times, not twice.

    Returns:
        Bytes, once a pass; the input embedding is left out.
    """
    frozen = config.num_hidden_layers * sum(a * b for a, b in _matrices(config))
    head = config.vocab_size * config.hidden_size
    of_layers = BYTES_A_WEIGHT[weights] * frozen * (3 if checkpointing else 2)
    head_type = dtype if weights.startswith("nf4") else weights
    return of_layers + BYTES_A_WEIGHT[head_type] * head * 2


def floor(n_operations: float, n_bytes: float, *, rate: float, bandwidth: float) -> dict[str, Any]:
    """Return the bounds of a time, in seconds.

    Args:
        n_operations: See `operations`.
        n_bytes: Of all steps, see `weight_bytes`.
        rate: Operations a second.
        bandwidth: Bytes a second.

    Returns:
        Both bounds, and `floor_seconds`, the larger one.
    """
    by_operations, by_bytes = n_operations / rate, n_bytes / bandwidth
    return {
        "floor_seconds_operations": by_operations,
        "floor_seconds_bytes": by_bytes,
        "floor_seconds": max(by_operations, by_bytes),
    }


def _matrices(config: Any) -> list[tuple[int, int]]:
    """Return inputs and outputs of a layer's seven matrices."""
    hidden, inner = config.hidden_size, config.intermediate_size
    query = config.num_attention_heads * config.head_dim
    key = config.num_key_value_heads * config.head_dim
    return [
        (hidden, query),
        (hidden, key),
        (hidden, key),
        (query, hidden),
        (hidden, inner),
        (hidden, inner),
        (inner, hidden),
    ]
