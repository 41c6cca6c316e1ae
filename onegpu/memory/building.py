"""A model on `meta`: real code, no weights, with 4-bit layers and an adapter where asked for.

Its parameters are made under the tracer, in the order in which transformers loads them.
"""

from typing import Any

import torch
from torch import nn

from onegpu.memory.tracer import Tracer
from onegpu.memory.training_step import TrainingStep

__all__ = ["build"]

BLOCK, BLOCK_OF_SCALES = 64, 256  # of NF4, and of its double quantization
NOT_QUANTIZED = ("lm_head",)


def build(config: Any, step: TrainingStep, *, tracer: Tracer) -> nn.Module:
    """Return a model ready to be trained, every allocation of its loading traced.

    Args:
        config: A configuration of transformers.
        step: How it will be trained, its precision chosen.
        tracer: The active one.

    Returns:
        The model, in training mode, its trainable weights in float32.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM

    config = config.__class__.from_dict(config.to_dict())
    config.use_cache = False
    with _untraced(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, dtype=step.dtype, attn_implementation=step.attention
        )
    if step.quantization:
        _load_in_4_bits(model, step, tracer=tracer)
    else:
        _load(model)
    _load_buffers(model)
    if step.lora is not None:
        if step.quantization:
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
            tracer.empty_cache()
        tracer.kind = "adapters"
        settings = {"lora_dropout": 0.0, "task_type": "CAUSAL_LM", **step.lora}
        model = get_peft_model(model, LoraConfig(**settings, init_lora_weights=False))
    if step.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
    return model.train()


def _untraced() -> Any:
    from torch.utils._python_dispatch import _disable_current_modes

    return _disable_current_modes()


def _load(model: nn.Module) -> None:
    """Make every parameter again, in the order of the modules; tied ones once."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if parameter not in made:
                made[parameter] = nn.Parameter(_empty_like(parameter), parameter.requires_grad)
            module._parameters[name] = made[parameter]


def _load_buffers(model: nn.Module) -> None:
    for module in model.modules():
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = _empty_like(buffer)


def _load_in_4_bits(model: nn.Module, step: TrainingStep, *, tracer: Tracer) -> None:
    """Make every parameter again as transformers does, and quantize the linear layers."""
    named = sorted(model.named_parameters(), key=lambda item: _natural(item[0]))
    quantized = {name for name, _ in named if _is_quantized(model, name)}
    # transformers first takes the whole model's memory in one block, and frees it at once
    n_bytes = sum(p.numel() * (0.5 if n in quantized else p.element_size()) for n, p in named)
    tracer.free(tracer.hidden(int(n_bytes) // 2 * 2, "warm-up of the allocator (hidden)"))
    for name, parameter in named:
        if name in quantized:
            _quantize_layer(model, name.removesuffix(".weight"), step)
        else:
            new = nn.Parameter(_empty_like(parameter), parameter.requires_grad)
            _replace(model, parameter, new)
    model.is_loaded_in_4bit = model.is_quantized = True
    model.quantization_method = "bitsandbytes"


def _natural(name: str) -> list[tuple[int, Any]]:
    """Return a key that sorts layer 10 after layer 2."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in name.split(".")]


def _is_quantized(model: nn.Module, name: str) -> bool:
    path, _, last = name.rpartition(".")
    if last != "weight" or path.rpartition(".")[2] in NOT_QUANTIZED:
        return False
    return type(model.get_submodule(path)) is nn.Linear


def _quantize_layer(model: nn.Module, path: str, step: TrainingStep) -> None:
    """Put a 4-bit layer in the place of a linear one, whose weight is loaded first."""
    import bitsandbytes

    layer = model.get_submodule(path)
    weight = _empty_like(layer.weight)
    is_double = step.quantization == "nf4-double"
    quantized = _quantized(weight, step.dtype, is_double=is_double)
    layer_4_bits = bitsandbytes.nn.Linear4bit(
        1,
        1,
        bias=False,
        compute_dtype=step.dtype,
        compress_statistics=is_double,
        quant_type="nf4",
        device="meta",
    )
    layer_4_bits.in_features, layer_4_bits.out_features = layer.in_features, layer.out_features
    quantized.module = layer_4_bits
    layer_4_bits.weight, layer_4_bits.quant_state = quantized, quantized.quant_state
    layer_4_bits.bias = layer.bias
    model.set_submodule(path, layer_4_bits)


def _quantized(weight: torch.Tensor, dtype: torch.dtype, *, is_double: bool) -> Any:
    """Return what `bitsandbytes.functional.quantize_4bit` leaves of a weight."""
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn import Params4bit

    n_blocks = -(-weight.numel() // BLOCK)
    absmax = _empty(n_blocks)
    codes = _empty(-(-weight.numel() // 2), 1, dtype=torch.uint8)
    state = {
        "absmax": absmax,
        "shape": weight.shape,
        "dtype": dtype,
        "blocksize": BLOCK,
        "code": _empty(16),
        "quant_type": "nf4",
    }
    if is_double:
        state["state2"] = QuantState(
            absmax=_empty(-(-n_blocks // BLOCK_OF_SCALES)),
            code=_empty(256),
            blocksize=BLOCK_OF_SCALES,
            dtype=torch.float32,
        )
        state |= {"absmax": _empty(n_blocks, dtype=torch.uint8), "offset": _empty()}
    settings: dict[str, Any] = {
        "quant_state": QuantState(**state),
        "blocksize": BLOCK,
        "compress_statistics": is_double,
        "quant_type": "nf4",
        "bnb_quantized": True,
    }
    return Params4bit(codes, requires_grad=False, **settings)


def _empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _empty_like(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _replace(model: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    """Put a parameter in the place of another, wherever it is (tied weights: twice)."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is old:
                module._parameters[name] = new
