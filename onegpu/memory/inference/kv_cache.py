"""What a model keeps of each request: keys and values, and the states of recurrent layers."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "UBATCH",
    "CacheLayer",
    "cache_layers",
    "llama_cpp_cache",
    "llama_cpp_cells",
    "transformers_cache",
    "vllm_cache",
]

N_PROBED = 8  # tokens of the pass that shows the cache's shapes
PADDING = 256  # llama.cpp rounds the tokens of a request up to a multiple of it
UBATCH = 512  # tokens that llama.cpp computes at once, its default for --ubatch-size
BLOCK = 16  # tokens in a block of vLLM, its default
STATE_BYTES = 4  # llama.cpp keeps the states of recurrent layers in float32


@dataclasses.dataclass(frozen=True)
class CacheLayer:
    """What one layer keeps of a request.

    Attributes:
        n_keys: Elements of a token's keys, of all heads; 0 without attention.
        n_values: Elements of its values.
        window: Tokens that attention looks back, its own included; None for all.
        conv: Channels and width of a convolution's state.
        n_state: Elements of a recurrent state.
        state_bytes: What transformers keeps of convolution and recurrent state, in bytes.
    """

    n_keys: int = 0
    n_values: int = 0
    window: int | None = None
    conv: tuple[int, int] = (0, 1)
    n_state: int = 0
    state_bytes: int = 0


def cache_layers(model: "nn.Module", config: Any) -> tuple[CacheLayer, ...]:
    """Return what each layer keeps, by letting the model's own code fill a cache.

    Args:
        model: On `meta`.
        config: Its configuration.

    Returns:
        The layers in order; those that share another's cache keep nothing.

    Raises:
        ValueError: The model keeps what transformers' `DynamicCache` does not show.
    """
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=config)
    with torch.device("meta"), torch.no_grad():
        tokens = torch.empty((1, N_PROBED), dtype=torch.long)
        model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers = tuple(_layer(layer) for layer in cache.layers)
    if not any(layer.n_keys or layer.n_state or layer.conv[0] for layer in layers):
        raise ValueError(
            f"a {config.model_type} keeps nothing in transformers' DynamicCache, so what it keeps "
            "of a request is unknown: choose another model"
        )
    return layers


def _layer(layer: Any) -> CacheLayer:
    found: dict[str, Any] = {}
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    if keys is not None and keys.numel():
        found["n_keys"] = keys.numel() // N_PROBED
        found["n_values"] = values.numel() // N_PROBED
        found["window"] = getattr(layer, "sliding_window", None)
    states = [s for s in getattr(layer, "recurrent_states", {}).values() if s is not None]
    convs = [c for c in getattr(layer, "conv_states", {}).values() if c is not None]
    if len(convs) > 1 or len(states) > 1:
        raise ValueError(
            f"a layer keeps {len(convs)} convolutions and {len(states)} states, and what an engine "
            "makes of more than one is not known here: choose another model"
        )
    if convs:
        found["conv"] = (convs[0].shape[-2], convs[0].shape[-1])
    if states:
        found["n_state"] = states[0].numel()
    found["state_bytes"] = sum(s.numel() * s.element_size() for s in (*states, *convs))
    return CacheLayer(**found)


def llama_cpp_cells(context: int, window: int | None) -> int:
    """Return for how many tokens of a request llama.cpp makes room in a layer.

    Args:
        context: Tokens of a request.
        window: Of the layer; None for all.

    Returns:
        A multiple of 256.
    """
    cells = context if window is None else min(context, window + UBATCH)
    return -(-cells // PADDING) * PADDING


def llama_cpp_cache(
    layers: Sequence[CacheLayer], *, context: int, requests: int, block: tuple[int, int]
) -> int:
    """Return the bytes of `llama-server --ctx-size CONTEXT*REQUESTS --parallel REQUESTS`.

    Args:
        layers: Windows only where llama.cpp keeps no more than the window.
        context: Tokens of a request.
        requests: At once.
        block: Elements and bytes of a block of keys and values.

    Returns:
        What it prints as KV buffers and RS (recurrent state) buffers, together.

    Source: https://github.com/ggml-org/llama.cpp/blob/0c1e57098bba43ac29e6e3b677cdceebdd22334f/src/llama-kv-cache-iswa.cpp
    """
    n_elements, n_bytes = block
    total = 0
    for layer in layers:
        cells = llama_cpp_cells(context, layer.window)
        total += (layer.n_keys + layer.n_values) * cells * n_bytes // n_elements
        channels, width = layer.conv
        total += (channels * (width - 1) + layer.n_state) * STATE_BYTES
    return requests * total


def vllm_cache(
    layers: Sequence[CacheLayer], *, context: int, requests: int, element: int, n_batched: int
) -> int:
    """Return the bytes that vLLM needs to hold these requests at their full length.

    Args:
        layers: All with attention.
        context: Tokens of a request.
        requests: At once.
        element: Bytes of a key's or value's element.
        n_batched: Tokens that it computes at once, `--max-num-batched-tokens`.

    Returns:
        Whole blocks of 16 tokens.

    Source: https://github.com/vllm-project/vllm/blob/main/vllm/v1/kv_cache_interface.py
    """
    total = 0
    for layer in layers:
        n_blocks = -(-context // BLOCK)
        if layer.window is not None:
            n_kept = min(layer.window - 1 + n_batched, context)
            n_blocks = min(n_blocks, -(-n_kept // BLOCK) + 1)
        total += n_blocks * BLOCK * (layer.n_keys + layer.n_values) * element
    return requests * total


def transformers_cache(layers: Sequence[CacheLayer], *, context: int, requests: int) -> int:
    """Return the bytes of transformers' `DynamicCache`, which holds 16-bit keys and values.

    Args:
        layers: Of the model.
        context: Tokens of a request.
        requests: Rows of the batch.

    Returns:
        Of sliding windows, it holds all tokens but the last of the window.
    """
    total = 0
    for layer in layers:
        n_kept = context if layer.window is None else min(context, layer.window - 1)
        total += 2 * n_kept * (layer.n_keys + layer.n_values) + layer.state_bytes
    return requests * total
