"""Models with random weights, made on the device: they take the memory and time of real ones.

Nothing is downloaded, and no machine's disk or RAM needs to hold them.
"""

from typing import Any

import torch
from torch import nn

__all__ = ["random_model"]

STANDARD_DEVIATION = 0.02  # of the weights, as models of this size are initialized
OF_4_BITS = ("quant_type", "compress_statistics", "quant_storage", "module")


def random_model(
    config: Any,
    *,
    device: str,
    dtype: torch.dtype,
    attention: str = "sdpa",
    quantization: str | None = None,
) -> Any:
    """Return a causal language model with random weights.

    Args:
        config: A configuration of transformers, such as
            `onegpu.memory.architectures.configuration("SmolLM2-1.7B")`.
        device: `"cuda"` or `"cpu"`.
        dtype: Of the weights, and of the computation with quantized ones.
        attention: As transformers spells it.
        quantization: None, `"nf4"`, or `"nf4-double"` for double quantization: the linear layers
            but the output layer are quantized, one at a time.

    Returns:
        The model in training mode, with `use_cache` off and no adapter.
    """
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    config = config.__class__.from_dict(config.to_dict())
    config.use_cache = False
    with init_empty_weights():  # parameters on `meta`, buffers with their values
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    model.tie_weights()  # which putting them on `meta` has undone
    quantizer = _quantizer(quantization, dtype) if quantization else None
    if quantizer:
        quantizer.preprocess_model(model, device_map=None)  # 4-bit layers, still on `meta`
    _take_as_one_block(model, device=device, dtype=dtype)
    _fill(model, device=device, dtype=dtype)
    if quantizer:
        model.hf_quantizer = quantizer
        quantizer.postprocess_model(model)
    return model.train()


def _quantizer(quantization: str, dtype: torch.dtype) -> Any:
    """Return what `from_pretrained` quantizes with."""
    from transformers import BitsAndBytesConfig
    from transformers.quantizers import AutoHfQuantizer

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=quantization == "nf4-double",
        bnb_4bit_compute_dtype=dtype,
    )
    quantizer = AutoHfQuantizer.from_config(settings)
    quantizer.pre_quantized = False  # the weights come in `dtype`
    return quantizer


def _take_as_one_block(model: nn.Module, *, device: str, dtype: torch.dtype) -> None:
    """Take the memory of all weights and free it, as transformers does before it loads them.

    torch keeps the block and cuts the weights out of it, which decides what it reserves.
    """
    n_bytes = sum(
        p.numel() * (dtype.itemsize if type(p) is nn.Parameter else 0.5) for p in model.parameters()
    )
    torch.empty(int(n_bytes), dtype=torch.uint8, device=device)


def _fill(model: nn.Module, *, device: str, dtype: torch.dtype) -> None:
    """Make every parameter on the device, the tied ones once, and take the buffers there."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                if parameter not in made:
                    made[parameter] = _random_like(parameter, device=device, dtype=dtype)
                module._parameters[name] = made[parameter]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = buffer.to(device)


def _random_like(parameter: nn.Parameter, *, device: str, dtype: torch.dtype) -> nn.Parameter:
    values = torch.empty(parameter.shape, device=device, dtype=dtype)
    if values.ndim == 1:  # scales of a norm; a bias that is not zero does no harm here
        return nn.Parameter(values.fill_(1.0))
    values.normal_(0, STANDARD_DEVIATION)
    if type(parameter) is nn.Parameter:
        return nn.Parameter(values)
    settings = {name: getattr(parameter, name) for name in OF_4_BITS}
    return type(parameter)(values, requires_grad=False, **settings).to(device)  # which quantizes
