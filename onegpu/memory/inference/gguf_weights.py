"""What a model's weights take as a GGUF file, by the rules of llama.cpp's own quantizer.

Source: https://github.com/ggml-org/llama.cpp/blob/0c1e57098bba43ac29e6e3b677cdceebdd22334f/src/llama-quant.cpp
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onegpu.memory.architectures import configuration

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "KINDS",
    "GgufTensor",
    "cache_block",
    "gguf_bytes",
    "gguf_tensors",
    "gguf_types",
    "has_windows",
]

# The kinds of `llama-quantize`, and the type that most tensors of each get.
KINDS = {
    "f16": "F16",
    "bf16": "BF16",
    "q8_0": "Q8_0",
    "q6_k": "Q6_K",
    "q5_k_m": "Q5_K",
    "q4_k_m": "Q4_K",
    "q4_k_s": "Q4_K",
    "q4_0": "Q4_0",
    "q3_k_m": "Q3_K",
    "mxfp4": "MXFP4",
}
# llama.cpp's architectures by `model_type`, and whether its cache of sliding windows holds no more
# than the window. Mistral 7B 0.1 has windows, and llama.cpp ignores them.
ARCHITECTURES = {
    "llama": ("llama", False),
    "mistral": ("llama", False),
    "mixtral": ("llama", False),
    "ministral3": ("mistral3", False),
    "qwen2": ("qwen2", False),
    "qwen3": ("qwen3", False),
    "qwen3_moe": ("qwen3moe", False),
    "qwen3_5_text": ("qwen35", False),
    "qwen3_5_moe_text": ("qwen35moe", False),
    "smollm3": ("smollm3", False),
    "granite": ("granite", False),
    "granitemoehybrid": ("granitehybrid", False),
    "lfm2": ("lfm2", False),
    "phi3": ("phi3", False),
    "olmo2": ("olmo2", False),
    "olmo3": ("olmo2", True),
    "gemma2": ("gemma2", True),
    "gemma3_text": ("gemma3", True),
    "gemma4_text": ("gemma4", True),
    "glm4": ("glm4", False),
    "gpt_oss": ("gpt-oss", True),
}
# What a type becomes where rows are no multiple of its block.
FALLBACKS = {"Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
# What the converter leaves in float32, besides all vectors and norms.
FLOAT32 = ("ffn_gate_inp", "ssm_conv1d", "shortconv.conv")
IN_16_BITS = "per_layer_model_proj"  # never quantized
LOOKED_UP = ("token_embd.weight", "per_layer_token_embd.weight")  # in host memory
# What the converter calls differently, or splits in two, before it looks names up.
RENAMED = {
    ".dt_bias": ".dt_proj.bias",
    "_proj_bias": "_proj.bias",
    "block_sparse_moe.router": "mlp.gate",
    "block_sparse_moe": "mlp",
    "shared_mlp.output_linear": "mlp.down_proj",
}
SPLIT = {
    "experts.gate_up_proj": ("experts.gate_proj", "experts.up_proj"),
    "shared_mlp.input_linear": ("mlp.gate_proj", "mlp.up_proj"),
}


@dataclasses.dataclass(frozen=True)
class GgufTensor:
    """A tensor of a GGUF file.

    Attributes:
        name: As in the file.
        layer: Its number; -1 outside the layers.
        row: Elements of a row, which are quantized together.
        n_rows: Of all experts together.
        n_dims: 3 for experts.
    """

    name: str
    layer: int
    row: int
    n_rows: int
    n_dims: int


def has_windows(config: Any) -> bool:
    """Return whether llama.cpp keeps no more than the window of layers with a sliding one.

    Args:
        config: A configuration of transformers.

    Returns:
        True or False.

    Raises:
        ValueError: The architecture is not known here.
    """
    return _architecture(config)[1]


def _architecture(config: Any) -> tuple[str, bool]:
    try:
        return ARCHITECTURES[config.model_type]
    except KeyError:
        raise ValueError(
            f"how llama.cpp stores a {config.model_type} is not known here: choose weights of "
            "another engine, such as bf16"
        ) from None


def gguf_tensors(model: "nn.Module", config: Any) -> tuple[GgufTensor, ...]:
    """Return the tensors that llama.cpp's converter would write for a model.

    Args:
        model: On `meta`.
        config: Its configuration.

    Returns:
        In order of the layers, as the quantizer sees them.

    Raises:
        ValueError: The architecture is not known here, or a tensor of it is not.
    """
    import gguf

    architecture = gguf.MODEL_ARCH_NAMES
    wanted = _architecture(config)[0]
    kind = next(kind for kind, name in architecture.items() if name == wanted)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    found = []
    for name, parameter in model.named_parameters():
        parts = _parts(name)
        for part in parts:
            known = names.get_name(part, try_suffixes=(".weight", ".bias"))
            if known is None:
                raise ValueError(
                    f"what llama.cpp calls {name} of a {wanted} is not known here: choose weights "
                    "of another engine, such as bf16"
                )
            shape = [n for n in parameter.shape if n > 1]
            row = shape[-1] if shape else 1
            if len(shape) == 3 and getattr(_owner(model, name), "is_transposed", False):
                row = shape[-2]
            n_rows = parameter.numel() // row // len(parts)
            layer = int(known.split(".")[1]) if known.startswith("blk.") else -1
            found.append(GgufTensor(known, layer, row, n_rows, len(shape)))
    return tuple(sorted(found, key=lambda tensor: tensor.layer))


def _owner(model: "nn.Module", name: str) -> "nn.Module":
    return model.get_submodule(name.rpartition(".")[0])


def _parts(name: str) -> list[str]:
    """Return the names of what the converter makes of a parameter."""
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    for old, parts in SPLIT.items():
        if old in name:
            return [name.replace(old, part) for part in parts]
    return [name]


def gguf_bytes(tensors: Sequence[GgufTensor], config: Any, *, kind: str) -> tuple[int, int]:
    """Return what the weights of a kind take on a card, and beside it.

    llama.cpp looks tokens up in host memory. Where the same tensor also makes the logits, the card
    has it too.

    Args:
        tensors: Of the model.
        config: Its configuration.
        kind: One of `KINDS`.

    Returns:
        Bytes on the card, and bytes in host memory.
    """
    mix = _Mix(tensors, config, kind)
    card = host = 0
    for tensor in tensors:
        n_bytes = _n_bytes(tensor, mix.type_of(tensor))
        if tensor.name in LOOKED_UP:
            host += n_bytes
        if tensor.name not in LOOKED_UP or (mix.is_tied and tensor.name == LOOKED_UP[0]):
            card += n_bytes
    return card, host


def gguf_types(model: Any, *, kind: str) -> dict[str, int]:
    """Return how many weights of a model get which type when its GGUF file is quantized.

    Args:
        model: As in `plan_serving`: a name, a folder, or a configuration of transformers.
        kind: One of `KINDS`.

    Returns:
        The number of weights by type, the largest number first.

    Raises:
        ValueError: The model is unknown, its architecture is, or the kind is.

    Example:
        >>> types = gguf_types("Llama-3.1-8B", kind="q4_k_m")
        >>> [round(100 * n / sum(types.values())) for n in types.values()], list(types)
        ([81, 19, 0], ['Q4_K', 'Q6_K', 'F32'])

    Taught in: notebooks/06_deployment.ipynb
    """
    import torch
    from transformers import AutoModelForCausalLM

    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: choose one of {', '.join(KINDS)}")
    config = configuration(model)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
    tensors = gguf_tensors(module, config)
    mix = _Mix(tensors, config, kind)
    counts: collections.Counter[str] = collections.Counter()
    for tensor in tensors:
        counts[mix.type_of(tensor)] += tensor.row * tensor.n_rows
    return dict(counts.most_common())


def cache_block(kind: str) -> tuple[int, int]:
    """Return the elements and the bytes of a block of a type of GGUF.

    Args:
        kind: Such as `"f16"` and `"q8_0"`.

    Returns:
        Elements and bytes.

    Example:
        >>> cache_block("q8_0")
        (32, 34)
    """
    import gguf

    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.upper()]]


def _n_bytes(tensor: GgufTensor, kind: str) -> int:
    n_elements, n_bytes = cache_block(kind)
    return tensor.n_rows * tensor.row // n_elements * n_bytes


class _Mix:
    """Chooses a type for each tensor, in their order."""

    def __init__(self, tensors: Sequence[GgufTensor], config: Any, kind: str) -> None:
        self.kind, self.base = kind, KINDS[kind]
        self.is_tied = not any(tensor.name == "output.weight" for tensor in tensors)
        self.n_layers = config.num_hidden_layers
        self.has_8_experts = 8 in (
            getattr(config, name, None) for name in ("num_local_experts", "num_experts")
        )
        self.is_70b = self.n_layers == 80 and config.model_type in ("llama", "qwen2")
        values = [tensor.name for tensor in tensors if _is_value(tensor.name)]
        self.values = {name: n for n, name in enumerate(values)}

    def type_of(self, tensor: GgufTensor) -> str:
        """Return the type as `gguf.GGMLQuantizationType` names it."""
        name = tensor.name
        if (
            tensor.n_dims < 2
            or not name.endswith(("weight", "_exps"))
            or "_norm" in name
            or any(kept in name for kept in FLOAT32)
        ):
            return "F32"
        if self.base in ("F16", "BF16"):
            return self.base
        if IN_16_BITS in name:
            return "F16"
        return self._fitting(tensor, self._mixed(tensor))

    def _fitting(self, tensor: GgufTensor, kind: str) -> str:
        for candidate in (kind, FALLBACKS.get(kind, kind)):
            if tensor.row % cache_block(candidate)[0] == 0:
                return candidate
        return "F16"

    def _mixed(self, tensor: GgufTensor) -> str:
        name, base = tensor.name, self.base
        if name == "output.weight" or (self.is_tied and name in LOOKED_UP):
            if base in ("Q8_0", "MXFP4") or tensor.row % cache_block(base)[0]:
                return "Q8_0"
            return "Q6_K"
        if base == "MXFP4":
            return base if tensor.n_dims == 3 else "Q8_0"
        if _is_value(name):
            return self._value(self.values[name])
        if "attn_k.weight" in name and self.has_8_experts:
            return "Q8_0"
        if "ffn_down" in name:
            return self._down(tensor.layer)
        if "attn_output.weight" in name:
            if self.has_8_experts:
                return "Q5_K" if self.kind in ("q3_k_m", "q4_k_s", "q4_k_m") else base
            return "Q4_K" if self.kind == "q3_k_m" else base
        return base

    def _value(self, n: int) -> str:
        found = self.base
        if self.kind == "q3_k_m":
            found = "Q5_K" if n < 2 else "Q4_K"
        elif self.kind in ("q4_k_m", "q5_k_m") and _gets_more(n, len(self.values)):
            found = "Q6_K"
        elif self.kind == "q4_k_s" and n < 4:
            found = "Q5_K"
        if self.is_70b and found in ("Q3_K", "Q4_K"):
            found = "Q5_K"
        return "Q8_0" if self.has_8_experts else found

    def _down(self, layer: int) -> str:
        if self.kind == "q3_k_m":
            return "Q5_K" if layer < self.n_layers // 16 else "Q4_K"
        if self.kind in ("q4_k_m", "q5_k_m") and _gets_more(layer, self.n_layers):
            return "Q6_K"
        if self.kind == "q4_k_s" and layer < self.n_layers // 8:
            return "Q5_K"
        return self.base


def _is_value(name: str) -> bool:
    return any(part in name for part in ("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"))


def _gets_more(n: int, total: int) -> bool:
    """Return whether the mixes of size M give a layer more bits."""
    eighth = total // 8
    return n < eighth or n >= 7 * total // 8 or (n - eighth) % 3 == 2
