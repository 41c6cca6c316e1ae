"""A model on `meta`: real code, no weights, with quantized layers and an adapter if asked for.

Its parameters are made under the tracer, in the order in which transformers loads them.
"""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from onegpu.memory.tracing.tracer import Tracer
from onegpu.memory.training_step import TrainingStep

__all__ = ["ContextManagers", "build", "load"]

Reader = Callable[[], torch.Tensor]
ContextManagers = Callable[[], tuple[AbstractContextManager, AbstractContextManager]]

BLOCK, BLOCK_OF_SCALES = 64, 256  # of NF4, and of its double quantization


def build(
    config: Any, step: TrainingStep, *, tracer: Tracer, recompute: ContextManagers | None = None
) -> nn.Module:
    """Return a model ready to be trained, every allocation of its loading traced.

    Args:
        config: A configuration of transformers.
        step: How it will be trained, everything chosen.
        tracer: The active one.
        recompute: Of checkpointing: what `torch.utils.checkpoint` takes as `context_fn`.

    Returns:
        The model, in training mode.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    model = load(config, step, tracer=tracer)
    if step.lora is not None:
        if step.quantization and step.upcast:
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
            tracer.empty_cache()
        tracer.kind = "adapters"
        adapter = copy.deepcopy(step.lora)  # peft writes into it
        if isinstance(adapter, dict):
            task = "SEQ_CLS" if step.trainer == "reward" else "CAUSAL_LM"
            adapter = LoraConfig(**{"lora_dropout": 0.0, "task_type": task, **adapter})
        if isinstance(adapter, LoraConfig):
            adapter.init_lora_weights = False
            _check_targets(model, adapter.target_modules)
        model = get_peft_model(model, adapter)
    if step.checkpointing:
        settings = {"use_reentrant": False}
        if recompute is not None:
            settings["context_fn"] = recompute
        model.activation_checkpointing_enable(settings)
        model.enable_input_require_grads()
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != step.trained_dtype:
            parameter.data = parameter.data.to(step.trained_dtype)
    return model.train()


def _check_targets(model: nn.Module, targets: Any) -> None:
    """Refuse names that no layer has; peft does so only where none of them is there."""
    if isinstance(targets, str) or not targets:
        return
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    missing = sorted(t for t in targets if t.rpartition(".")[2] not in names)
    if missing:
        raise ValueError(f"no layer of the model is called {', '.join(missing)}: check the targets")


def load(config: Any, step: TrainingStep, *, tracer: Tracer) -> nn.Module:
    """Return a model as transformers loads it, every allocation traced.

    Args:
        config: A configuration of transformers.
        step: How it will be trained, everything chosen.
        tracer: The active one.

    Returns:
        The model, quantized if it is to be.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    config = config.__class__.from_dict(config.to_dict())
    config.use_cache = False
    settings = {"dtype": step.dtype, "attn_implementation": step.attention}
    kind = AutoModelForCausalLM
    if step.trainer == "reward":
        kind, config.num_labels = AutoModelForSequenceClassification, 1
        config.pad_token_id = 0
    with _untraced(), torch.device("meta"):
        model = kind.from_config(config, **settings)
    if step.quantization:
        _load_quantized(model, step, tracer=tracer)
    else:
        _load(model, tracer=tracer)
    _load_buffers(model)
    return model


def _untraced() -> Any:
    from torch.utils._python_dispatch import _disable_current_modes

    return _disable_current_modes()


def _load(model: nn.Module, *, tracer: Tracer) -> None:
    """Make every parameter again, in the order of the modules; tied ones once."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if parameter not in made:
                new = _read(parameter, tracer=tracer)
                made[parameter] = nn.Parameter(new, parameter.requires_grad)
            module._parameters[name] = made[parameter]


def _read(parameter: nn.Parameter, *, tracer: Tracer) -> torch.Tensor:
    """Make a weight again. Those of experts, of three dimensions, are put together on the card.

    They lie in the file one by one: read, stacked, and the two halves of gate and up joined.
    """
    hidden = []
    if parameter.ndim == 3:
        n_bytes = parameter.numel() * parameter.element_size()
        hidden = [tracer.hidden(n_bytes, "experts, read (hidden)") for _ in range(2)]
    new = _empty_like(parameter)
    for key in hidden:
        tracer.free(key)
    return new


def _load_buffers(model: nn.Module) -> None:
    for module in model.modules():
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = _empty_like(buffer)


def _load_quantized(model: nn.Module, step: TrainingStep, *, tracer: Tracer) -> None:
    """Make every parameter again as transformers does, and quantize the linear layers.

    One weight after the other is loaded in 16 bits and quantized, so there is only one of them.
    """
    bits = 8 if step.quantization == "int8" else 4
    named = sorted(model.named_parameters(), key=lambda item: _natural(item[0]))
    quantized = _quantized_weights(model)
    # transformers first takes the whole model's memory in one block, and frees it at once
    n_bytes = sum(p.numel() * (bits / 8 if n in quantized else p.element_size()) for n, p in named)
    tracer.free(tracer.hidden(int(n_bytes) // 2 * 2, "warm-up of the allocator (hidden)"))
    for name, parameter, read in _readers(named, tracer=tracer):
        if name not in quantized:
            _replace(model, parameter, nn.Parameter(read(), parameter.requires_grad))
        elif bits == 8:
            _quantize_to_8_bits(model, name.removesuffix(".weight"), read)
        else:
            _quantize_to_4_bits(model, name.removesuffix(".weight"), read, step)
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = bits == 4, bits == 8
    model.is_quantized, model.quantization_method = True, "bitsandbytes"


def _readers(
    named: Iterable[tuple[str, nn.Parameter]], *, tracer: Tracer
) -> Iterator[tuple[str, nn.Parameter, Reader]]:
    """Yield each parameter with its name, and a function that reads it from the file."""
    for name, parameter in named:
        yield name, parameter, functools.partial(_read, parameter, tracer=tracer)


def _natural(name: str) -> list[tuple[int, Any]]:
    """Return a key that sorts layer 10 after layer 2."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in name.split(".")]


def _quantized_weights(model: nn.Module) -> set[str]:
    """Return the names of what bitsandbytes quantizes: linear layers, but for the output layer.

    Weights of three dimensions, those of experts, belong to no linear layer and stay as they are.
    """
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert

    kept = set(get_keys_to_not_convert(model))
    return {
        f"{path}.weight"
        for path, module in model.named_modules()
        if type(module) in (nn.Linear, Conv1D) and path not in kept
    }


def _sizes(layer: nn.Module) -> tuple[int, int]:
    """Return the numbers of inputs and outputs of a linear layer; `Conv1D` has them transposed."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    n_in, n_out = layer.weight.shape
    return n_in, n_out


def _quantize_to_4_bits(model: nn.Module, path: str, read: Reader, step: TrainingStep) -> None:
    """Put a 4-bit layer in the place of a linear one, whose weight is read first."""
    import bitsandbytes

    layer = model.get_submodule(path)
    n_in, n_out = _sizes(layer)
    is_double = step.quantization == "nf4-double"
    quantized = _quantized(read(), (n_out, n_in), step.dtype, is_double=is_double)
    layer_4_bits = bitsandbytes.nn.Linear4bit(
        1,
        1,
        bias=False,
        compute_dtype=step.dtype,
        compress_statistics=is_double,
        quant_type="nf4",
        device="meta",
    )
    layer_4_bits.in_features, layer_4_bits.out_features = n_in, n_out
    quantized.module = layer_4_bits
    layer_4_bits.weight, layer_4_bits.quant_state = quantized, quantized.quant_state
    layer_4_bits.bias = layer.bias
    model.set_submodule(path, layer_4_bits)


def _quantize_to_8_bits(model: nn.Module, path: str, read: Reader) -> None:
    """Put an 8-bit layer in the place of a linear one."""
    from bitsandbytes.nn import Int8Params, Linear8bitLt

    layer = model.get_submodule(path)
    n_in, n_out = _sizes(layer)
    read()  # it goes by the processor's memory
    in_16_bits = _empty(n_out, n_in, dtype=torch.float16)
    codes = _empty(n_out, n_in, dtype=torch.int8)
    state: dict[str, Any] = {"CB": codes, "SCB": _empty(n_out)}
    del in_16_bits
    layer_8_bits = Linear8bitLt(1, 1, bias=False, has_fp16_weights=False, threshold=6.0)
    layer_8_bits.in_features, layer_8_bits.out_features = n_in, n_out
    layer_8_bits.weight = Int8Params(codes, requires_grad=False, **state)
    layer_8_bits.bias = layer.bias
    layer_8_bits.forward = functools.partial(_forward_8_bits, layer_8_bits)
    model.set_submodule(path, layer_8_bits)


def _forward_8_bits(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return _Product8Bits.apply(x, layer.weight.CB, layer.bias)


class _Product8Bits(torch.autograd.Function):
    """What a product with an 8-bit weight allocates on a GPU.

    Source: `bitsandbytes.autograd.MatMul8bitLt` and `bitsandbytes.backends.cuda` 0.50
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, codes: torch.Tensor, bias: torch.Tensor | None) -> Any:
        rows = x.flatten(0, -2)
        in_16_bits = rows.to(torch.float16)
        absolute = torch.empty_like(in_16_bits)  # where are the outliers?
        outliers = torch.empty_like(rows, dtype=torch.bool)
        del absolute, outliers
        quantized = torch.empty_like(rows, dtype=torch.int8)
        scales = rows.new_empty(len(rows), dtype=torch.float32)
        del in_16_bits
        in_32_bits = rows.new_empty(len(rows), codes.shape[0], dtype=torch.int32)
        del quantized, scales
        result = torch.empty_like(in_32_bits, dtype=torch.float16)
        del in_32_bits
        ctx.save_for_backward(x, codes)
        return result.to(x.dtype).view(*x.shape[:-1], codes.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, codes = ctx.saved_tensors
        weight = codes.to(x.dtype)
        result = gradients[0].to(x.dtype).flatten(0, -2) @ weight
        return result.view(x.shape), None, None


def _quantized(
    weight: torch.Tensor, shape: tuple[int, int], dtype: torch.dtype, *, is_double: bool
) -> Any:
    """Return what `bitsandbytes.functional.quantize_4bit` leaves of a weight."""
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn import Params4bit

    n_blocks = -(-weight.numel() // BLOCK)
    absmax = _empty(n_blocks)
    codes = _empty(-(-weight.numel() // 2), 1, dtype=torch.uint8)
    state = {
        "absmax": absmax,
        "shape": torch.Size(shape),
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
