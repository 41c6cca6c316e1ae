"""What serving a model takes, part by part: weights, cache and activations of each engine."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from onegpu.memory.cards import Card
from onegpu.memory.inference.gguf_weights import (
    GgufTensor,
    cache_block,
    gguf_bytes,
    gguf_tensors,
    has_windows,
)
from onegpu.memory.inference.kv_cache import (
    UBATCH,
    CacheLayer,
    cache_layers,
    llama_cpp_cache,
    llama_cpp_cells,
    transformers_cache,
    vllm_cache,
)
from onegpu.memory.inference.serving import Serving
from onegpu.memory.replay import peaks_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Parts", "ServedModel", "parts_of"]

NOT_QUANTIZED = ("lm_head",)  # by bitsandbytes
BLOCK, BLOCK_OF_SCALES = 64, 256  # of NF4, and of its double quantization
CODE_BOOK = 64  # bytes of NF4's 16 values, which each layer has
LARGE_CARD = 70  # GiB, from which on vLLM computes more at once; not on an A100


@dataclasses.dataclass(frozen=True)
class Parts:
    """What serving takes.

    Attributes:
        weights_bytes: Weights on the card.
        host_bytes: Weights that stay in the machine's memory.
        kv_cache_bytes: Keys, values and states of all requests at their full length.
        compute_bytes: Activations at their peak.
    """

    weights_bytes: int
    host_bytes: int
    kv_cache_bytes: int
    compute_bytes: int

    @property
    def card_bytes(self) -> int:
        """What is on the card."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes


@dataclasses.dataclass(frozen=True, eq=False)
class ServedModel:
    """What plans need to know of a model, found out once.

    Attributes:
        config: A configuration of transformers.
        module: Built from it, on `meta`.
        layers: What each layer keeps of a request.
    """

    config: Any
    module: "nn.Module"
    layers: tuple[CacheLayer, ...]

    @classmethod
    def of(cls, config: Any) -> "ServedModel":
        """Return what is to be known of a model.

        Args:
            config: A configuration of transformers.

        Returns:
            The model.

        Raises:
            ValueError: What it keeps of a request is not known.
        """
        import torch
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            module = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        return cls(config, module, cache_layers(module, config))

    @functools.cached_property
    def tensors(self) -> tuple[GgufTensor, ...]:
        """Those of its GGUF file."""
        return gguf_tensors(self.module, self.config)

    @property
    def has_windows(self) -> bool:
        """Whether some of its layers look back over a sliding window."""
        return any(layer.window for layer in self.layers)

    @property
    def has_experts(self) -> bool:
        """Whether tokens choose among experts."""
        return bool(getattr(self.config, "num_experts_per_tok", None))

    def token_bytes(self, serving: Serving) -> int:
        """Return what vLLM keeps of a token, without sliding windows.

        Args:
            serving: Its `kv_cache` is chosen.

        Returns:
            Bytes, of all layers.
        """
        n_elements = sum(layer.n_keys + layer.n_values for layer in self.layers)
        return n_elements * (1 if serving.kv_cache == "fp8" else 2)


def parts_of(served: ServedModel, serving: Serving, *, card: Card) -> Parts:
    """Return what serving a model takes.

    Args:
        served: The model.
        serving: The settings, chosen for the card.
        card: What it would run on.

    Returns:
        The parts.

    Raises:
        ValueError: The engine cannot do it, or what it would take is not known.
    """
    if serving.engine == "llama.cpp":
        return _llama_cpp(served, serving)
    if serving.engine == "vllm":
        return _vllm(served, serving, card=card)
    return _transformers(served, serving, card=card)


def _llama_cpp(served: ServedModel, serving: Serving) -> Parts:
    if served.config.model_type == "gpt_oss" and serving.weights != "mxfp4":
        raise ValueError(
            f"weights is {serving.weights!r}, and a gpt_oss comes with experts in MXFP4, which "
            "llama.cpp does not quantize again: choose mxfp4"
        )
    block = cache_block(serving.kv_cache)
    layers = served.layers
    if not has_windows(served.config):
        layers = tuple(dataclasses.replace(layer, window=None) for layer in layers)
    odd = [n for layer in layers for n in (layer.n_keys, layer.n_values) if n % block[0]]
    if odd:
        raise ValueError(
            f"kv_cache is {serving.kv_cache!r}, and a layer keeps {odd[0]} elements of a token, no "
            f"multiple of {block[0]}: choose f16"
        )
    weights, host = gguf_bytes(served.tensors, served.config, kind=serving.weights)
    cache = llama_cpp_cache(layers, context=serving.context, requests=serving.requests, block=block)
    return Parts(weights, host, cache, _compute_buffer(served.config, layers, serving))


def _compute_buffer(config: Any, layers: tuple[CacheLayer, ...], serving: Serving) -> int:
    """Return what llama.cpp reserves for a batch of 512 tokens, by FlashAttention, or some more.

    It is what it prints as compute buffer. At the widest place there are the three tensors of the
    MLP and at most four as wide as the model, in float32; beside them, for each kind of layer, an
    attention mask in float16. Builds of before `n_outputs_max` hold the logits of all 512 tokens.
    """
    per_layer = getattr(config, "hidden_size_per_layer_input", None) or 0
    wide = 3 * _width(config) + 4 * config.hidden_size + per_layer * config.num_hidden_layers
    logits = serving.requests * config.vocab_size
    windows = {layer.window for layer in layers if layer.n_keys}
    cells = sum(llama_cpp_cells(serving.context, window) for window in windows)
    return 4 * max(UBATCH * wide, logits) + 2 * UBATCH * cells


def _width(config: Any) -> int:
    """Return how many elements of a token the MLP makes at its widest, of all experts it takes."""
    size = getattr(config, "intermediate_size", None) or 0  # 0 where all of it are experts
    dense = size if isinstance(size, int) else max(size)
    n_used = getattr(config, "num_experts_per_tok", None)
    if not n_used:
        return dense
    per_expert = getattr(config, "moe_intermediate_size", None) or dense
    return n_used * per_expert + (getattr(config, "shared_expert_intermediate_size", None) or 0)


def _vllm(served: ServedModel, serving: Serving, *, card: Card) -> Parts:
    if any(layer.n_state or layer.conv[0] for layer in served.layers):
        raise ValueError(
            f"engine is 'vllm', and how it pages the states of a {served.config.model_type} is not "
            "known here: choose engine='llama.cpp' or 'transformers'"
        )
    is_large = card.memory_gib >= LARGE_CARD and "a100" not in card.name
    n_batched, n_sequences = (8192, 1024) if is_large else (2048, 256)
    cache = vllm_cache(
        served.layers,
        context=serving.context,
        requests=serving.requests,
        element=1 if serving.kv_cache == "fp8" else 2,
        n_batched=n_batched,
    )
    compute = _vllm_compute(served.config, n_batched=n_batched, n_sequences=n_sequences)
    return Parts(_bytes_in_16_bits(served.module), 0, cache, compute)


def _vllm_compute(config: Any, *, n_batched: int, n_sequences: int) -> int:
    """Return the peak that vLLM measures before it takes the rest of the card for its cache.

    It runs the longest batch, and then the sampler on logits in 16 and in 32 bits. At the widest
    place of a batch there are the three tensors of the MLP and three as wide as the model.
    """
    batch = 2 * n_batched * (3 * _width(config) + 3 * config.hidden_size)
    return max(batch, n_sequences * config.vocab_size * (2 + 4))


def _transformers(served: ServedModel, serving: Serving, *, card: Card) -> Parts:
    from onegpu.memory.inference.forward import trace_forward

    context, requests = serving.context, serving.requests
    weights = _bytes_in_16_bits(served.module)
    cache = transformers_cache(served.layers, context=context, requests=requests)
    events = trace_forward(
        served.module, served.config, card=card, context=context, requests=requests
    )
    reserved = max(phase.reserved_bytes for phase in peaks_of(events).phases)
    compute = reserved - weights - cache
    if serving.weights not in ("bf16", "fp16"):
        linear = _quantized(served.module)
        weights += sum(_saved(layer, serving.weights) for layer in linear)
        compute += 2 * max(layer.weight.numel() for layer in linear)  # one at a time in 16 bits
    return Parts(weights, 0, cache, compute)


def _bytes_in_16_bits(module: "nn.Module") -> int:
    return 2 * sum(parameter.numel() for parameter in module.parameters())


def _quantized(module: "nn.Module") -> list[Any]:
    """Return the layers that bitsandbytes quantizes."""
    from torch import nn

    named = module.named_modules()
    return [m for name, m in named if type(m) is nn.Linear and name not in NOT_QUANTIZED]


def _saved(layer: Any, kind: str) -> int:
    """Return by how many bytes a layer grows when it is quantized: below zero."""
    n = layer.weight.numel()
    if kind == "int8":
        return n + 4 * layer.out_features - 2 * n
    n_blocks = -(-n // BLOCK)
    scales = 4 * n_blocks
    if kind == "nf4-double":
        scales = n_blocks + 4 * -(-n_blocks // BLOCK_OF_SCALES) + 4 * 256 + 4
    return n // 2 + scales + CODE_BOOK - 2 * n
