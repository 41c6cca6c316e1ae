"""How a module keeps its weights: the format's name, the shape that it is for, and all its tensors.

The formats of libraries that need not be installed are known by their modules' attributes.
"""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Kept", "bitsandbytes_format", "int8_scales", "kept"]

MAIN = ("weight", "qweight", "W_q")


@dataclasses.dataclass(frozen=True)
class Kept:
    """A weight as a module keeps it.

    Attributes:
        name: The parameter's, or nothing for the weight of the module itself.
        weight: Its main tensor.
        format: What it is quantized to, or nothing.
        shape: Its shape before quantization.
        compute: The number type that it multiplies in, or nothing where it takes the input's.
        tensors: All that belongs to it: bias and scales too.
    """

    name: str
    weight: Any
    format: str
    shape: tuple[int, ...]
    compute: "torch.dtype | None"
    tensors: "tuple[torch.Tensor, ...]"


def kept(module: "torch.nn.Module") -> Iterator[Kept]:
    """Yield what a module keeps itself: one weight with its bias, or each of several parameters."""
    own = _own(module)
    main = next((name for name in MAIN if name in own), None)
    groups: dict[str, list[str]] = {}
    for name in own:  # the bias and scales of `up_proj` are named `up_proj_bias`, `up_proj_scale`
        owners = (other for other in own if name.startswith(f"{other}_"))
        groups.setdefault(main or min(owners, key=len, default=name), []).append(name)
    for owner, names in groups.items():
        weight = own[owner]
        format, shape = _format(module, owner, names, weight)
        yield Kept(
            name="" if main else owner,
            weight=weight,
            format=format,
            shape=tuple(shape),
            compute=getattr(module, "compute_dtype", None) if format else weight.dtype,
            tensors=tuple(t for name in names for t in _stored(own[name])),
        )


def bitsandbytes_format(module: "torch.nn.Module") -> str:
    """Return `nf4`, `fp4` or `int8` for a quantized layer of bitsandbytes, else nothing."""
    state = getattr(getattr(module, "weight", None), "quant_state", None)
    if state is not None:
        return state.quant_type
    return "int8" if type(module).__name__ == "Linear8bitLt" else ""


def int8_scales(module: "torch.nn.Module") -> "torch.Tensor":
    """Return the scale of each row; it moves from the weight to the state at the first pass."""
    scales = getattr(module.weight, "SCB", None)
    return scales if scales is not None else module.state.SCB


def _own(module: "torch.nn.Module") -> dict[str, Any]:
    """Return what a module keeps by name; buffers only if they are saved with the model."""
    own = dict(module._parameters)
    own |= {n: b for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set}
    kind = type(module).__name__
    if bitsandbytes_format(module) == "int8":
        own["weight_scale"] = int8_scales(module)
    elif kind == "HQQLinear":  # https://github.com/mobiusml/hqq/blob/master/hqq/core/quantize.py
        own |= {"W_q": module.W_q, "bias": module.bias} | _flat(module.meta, "meta")
    elif kind == "Mxfp4GptOssExperts" and module.gate_up_proj_precision_config is not None:
        # loaded for its kernels; transformers' integrations/mxfp4.py attaches Triton's tensors
        for name in ("gate_up_proj", "down_proj"):
            own[name] = getattr(module, name)
            own[f"{name}_scale"] = getattr(module, f"{name}_precision_config").weight_scale
    return {name: tensor for name, tensor in own.items() if tensor is not None}


def _flat(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the tensors in nested settings, by their path."""
    import torch

    found = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{name}_{key}")
        elif isinstance(value, torch.Tensor):
            found[f"{name}_{key}"] = value
    return found


def _stored(tensor: Any) -> "Iterator[torch.Tensor]":
    """Yield the tensors that a tensor is made of."""
    import torch

    if not isinstance(tensor, torch.Tensor):  # Triton's
        yield tensor.storage.data
    elif hasattr(tensor, "__tensor_flatten__"):  # a subclass of torch's that wraps others
        for name in tensor.__tensor_flatten__()[0]:
            yield from _stored(getattr(tensor, name))
    else:
        yield tensor
    state = getattr(tensor, "quant_state", None)
    if state is not None:
        yield state.absmax
        if state.nested:
            yield from (state.offset, state.state2.absmax)


def _format(
    module: "torch.nn.Module", name: str, names: list[str], weight: Any
) -> tuple[str, tuple[int, ...]]:
    """Return what a weight is quantized to, or nothing, and its shape before."""
    import torch

    kind = type(module).__name__
    scaled = any(other.startswith(f"{name}_scale") for other in names)
    package = type(weight).__module__.partition(".")[0]
    state = getattr(weight, "quant_state", None)
    if state is not None:
        return state.quant_type, state.shape
    if kind == "Linear8bitLt":
        return "int8", weight.shape
    if kind == "HQQLinear":
        return f"hqq {module.meta['nbits']}-bit", module.meta["shape"]
    if name == "qweight":
        # https://github.com/ModelCloud/GPTQModel and https://github.com/casper-hansen/AutoAWQ
        method = "awq" if kind.startswith(("Awq", "WQLinear")) else "gptq"
        bits = module.w_bit if hasattr(module, "w_bit") else module.bits
        return f"{method} {bits}-bit", (module.out_features, module.in_features)
    if hasattr(weight, "__tensor_flatten__") and package != "torch":
        # https://docs.pytorch.org/ao/stable/contributor_guide.html
        return f"{package} {type(weight).__name__}", weight.shape
    if kind == "Mxfp4GptOssExperts" or (scaled and weight.dtype == torch.int8):
        packed = isinstance(weight, torch.Tensor)  # two in a byte
        return "mxfp4", (*weight.shape[:-1], weight.shape[-1] * 2) if packed else weight.shape
    if scaled and weight.dtype.is_floating_point and weight.dtype.itemsize == 1:
        return "fp8", weight.shape
    return "", weight.shape
