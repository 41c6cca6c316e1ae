"""A model on `meta`: real code, no weights, with 4-bit layers and an adapter where asked for.

Its parameters are made under the tracer, in the order in which transformers loads them.
"""

import re
from typing import Any

import torch
from torch import nn

from onegpu.memory.tracer import Tracer

__all__ = ["build"]

BLOCK, BLOCK_OF_SCALES = 64, 256  # of NF4, and of its double quantization
NOT_QUANTIZED = ("lm_head",)


def build(
    config: Any,
    tracer: Tracer,
    *,
    dtype: torch.dtype,
    attention: str,
    quantization: str | None,
    lora: dict[str, Any] | None,
    checkpointing: bool,
) -> nn.Module:
    """Return a model ready to be trained, every allocation of its loading traced.

    Args:
        config: A configuration of transformers.
        tracer: The active one.
        dtype: Number type of the weights.
        attention: `eager` or `sdpa`.
        quantization: None, `nf4`, or `nf4-double`.
        lora: Keyword arguments of `peft.LoraConfig`; None for full fine-tuning.
        checkpointing: Whether activations are computed again in the backward pass.

    Returns:
        The model, in training mode, its trainable weights in float32.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM

    config = config.__class__.from_dict(config.to_dict())
    config.use_cache = False
    with _untraced(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    if quantization:
        _load_in_4_bits(model, tracer, dtype, double=quantization == "nf4-double")
    else:
        _load(model)
    for module in model.modules():
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="meta")
    if lora is not None:
        if quantization:
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
            tracer.empty_cache()
        tracer.kind = "adapters"
        settings = {"lora_dropout": 0.0, "task_type": "CAUSAL_LM", **lora}
        model = get_peft_model(model, LoraConfig(**settings, init_lora_weights=False))
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
    return model.train()


def _untraced() -> Any:
    from torch.utils._python_dispatch import _disable_current_modes

    return _disable_current_modes()


def _natural(name: str) -> list[tuple[int, Any]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"\.", name)]


def _load(model: nn.Module) -> None:
    """Make every parameter anew, in the order of the modules; tied ones once."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if parameter not in made:
                empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
                made[parameter] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
            module._parameters[name] = made[parameter]


def _load_in_4_bits(model: nn.Module, tracer: Tracer, dtype: torch.dtype, *, double: bool) -> None:
    """Make every parameter anew as transformers does, and pack the linear layers on the way."""
    import bitsandbytes

    named = sorted(model.named_parameters(), key=lambda item: _natural(item[0]))
    quantized = {
        name
        for name, _ in named
        if name.endswith(".weight")
        and type(model.get_submodule(name.rpartition(".")[0])) is nn.Linear
        and name.split(".")[-2] not in NOT_QUANTIZED
    }
    # transformers first takes the whole model's memory in one block, and frees it at once
    n_bytes = sum(p.numel() * (0.5 if n in quantized else p.element_size()) for n, p in named)
    tracer.free(tracer.hidden(int(n_bytes) // 2 * 2, "warm-up of the allocator (hidden)"))
    for name, parameter in named:
        weight = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
        if name not in quantized:
            _replace(model, parameter, nn.Parameter(weight, parameter.requires_grad))
            del weight
            continue
        path, _, _ = name.rpartition(".")
        parent, _, child = path.rpartition(".")
        layer = model.get_submodule(path)
        packed = _packed(layer, dtype, double=double)
        layer_4_bits = bitsandbytes.nn.Linear4bit(
            1,
            1,
            bias=False,
            compute_dtype=dtype,
            compress_statistics=double,
            quant_type="nf4",
            device="meta",
        )
        layer_4_bits.in_features, layer_4_bits.out_features = layer.in_features, layer.out_features
        packed.module = layer_4_bits
        layer_4_bits.weight, layer_4_bits.quant_state = packed, packed.quant_state
        layer_4_bits.bias = layer.bias
        setattr(model.get_submodule(parent), child, layer_4_bits)
        del weight, packed, layer_4_bits, layer
    model.is_loaded_in_4bit = model.is_quantized = True
    model.quantization_method = "bitsandbytes"


def _packed(layer: nn.Linear, dtype: torch.dtype, *, double: bool) -> Any:
    """Return what `bitsandbytes.functional.quantize_4bit` leaves of a weight."""
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn import Params4bit

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    n_blocks = -(-layer.weight.numel() // BLOCK)
    absmax = empty(n_blocks)
    packed = empty(-(-layer.weight.numel() // 2), 1, dtype=torch.uint8)
    state = {
        "absmax": absmax,
        "shape": layer.weight.shape,
        "dtype": dtype,
        "blocksize": BLOCK,
        "code": empty(16),
        "quant_type": "nf4",
    }
    if double:
        state["state2"] = QuantState(
            absmax=empty(-(-n_blocks // BLOCK_OF_SCALES)),
            code=empty(256),
            blocksize=BLOCK_OF_SCALES,
            dtype=torch.float32,
        )
        state |= {"absmax": empty(n_blocks, dtype=torch.uint8), "offset": empty()}
    return Params4bit(
        packed,
        requires_grad=False,
        quant_state=QuantState(**state),
        blocksize=BLOCK,
        compress_statistics=double,
        quant_type="nf4",
        bnb_quantized=True,
    )


def _replace(model: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    """Put a parameter in the place of another, wherever it stands (tied weights: twice)."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is old:
                module._parameters[name] = new
