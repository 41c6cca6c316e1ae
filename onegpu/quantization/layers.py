"""The layers of a quantized model: what each is made of, and the weight that it computes with.

Taught in: notebooks/02_quantization.ipynb
"""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onegpu.quantization.blocks import relative_rms

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["ModuleInfo", "dequantize", "inspect", "keep_trainable"]


@dataclasses.dataclass(frozen=True)
class ModuleInfo:
    """One module of a model that has weights of its own.

    Attributes:
        name: Its path in the model.
        type: Its class.
        shape: Shape of its weight before quantization.
        stored: How its weight is kept: a number type, or `nf4`, `fp4`, `int8`.
        compute: The number type that it multiplies in; `input's` where it takes the input's.
        n_bytes: Memory of weight, bias and scales; 0 where another module has them already.
        shared_with: The module that owns its weight, or nothing.
        error: Root mean square error of a quantized weight against the reference's, as a part of
            the reference's own; None for other weights, and where the reference has no module of
            that name and shape.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    stored: str
    compute: str
    n_bytes: int
    shared_with: str
    error: float | None


def inspect(
    model: "PreTrainedModel", *, reference: "PreTrainedModel | None" = None
) -> list[ModuleInfo]:
    """List the modules of a model that have weights, and how each is kept.

    Args:
        model: As loaded, quantized by bitsandbytes or not.
        reference: The same model unquantized, to measure the error of each weight against.

    Returns:
        A row a module, in the model's order; `pandas.DataFrame(rows)` makes a table of them.
        The codebooks, a few numbers a layer, are not counted.

    Example:
        >>> import torch
        >>> [row] = inspect(torch.nn.Sequential(torch.nn.Linear(2, 3)))
        >>> row.name, row.shape, row.stored, row.n_bytes
        ('0', (3, 2), 'float32', 36)

    Taught in: notebooks/02_quantization.ipynb
    """
    originals = dict(reference.named_modules()) if reference is not None else {}
    owners: dict[int, str] = {}
    rows = []
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is None:
            continue
        owner = owners.setdefault(id(weight), name)
        quantized = _quantized_format(module)
        computed = weight.dtype
        if quantized:
            computed = getattr(module, "compute_dtype", None)
        rows.append(
            ModuleInfo(
                name=name,
                type=type(module).__name__,
                shape=_shape(module),
                stored=quantized or _short(weight.dtype),
                compute=_short(computed) if computed else "input's",
                n_bytes=sum(t.nbytes for t in _tensors(module)) if owner == name else 0,
                shared_with=owner if owner != name else "",
                error=_error(module, originals.get(name)),
            )
        )
    return rows


def dequantize(module: "torch.nn.Module") -> "torch.Tensor":
    """Return the weight that a module computes with, dequantized.

    Args:
        module: A linear layer of bitsandbytes, or any other with a weight.

    Returns:
        The weight in float32, shape (out, in) for a linear layer.

    Taught in: notebooks/03_lora.ipynb
    """
    import bitsandbytes.functional as bnb

    quantized = _quantized_format(module)
    if quantized == "int8":
        return module.weight.data.float() * (_int8_scales(module).float() / 127)[:, None]
    if quantized:
        if getattr(module.weight.quant_state, "packing_format_for_cpu", False):
            return _dequantize_rearranged(module.weight.data, module.weight.quant_state)
        return bnb.dequantize_4bit(module.weight.data, module.weight.quant_state).float()
    return module.weight.detach().float()


def keep_trainable(model: "PreTrainedModel") -> None:
    """Keep 4-bit layers in the layout that training needs, whatever is asked of the model.

    On processors that multiply bfloat16, bitsandbytes 0.50 rearranges a 4-bit weight at the first
    pass in evaluation mode, for speed, and never back. From then on no gradient passes through
    the layer: training goes on without an error and learns nonsense. Elsewhere this changes
    nothing.

    Args:
        model: Loaded in 4 bits, not asked anything yet. It is changed in place.

    Taught in: notebooks/00_tldr.ipynb
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _dequantize_rearranged(quantized: "torch.Tensor", state: Any) -> "torch.Tensor":
    """Dequantize a 4-bit weight in the layout that bitsandbytes 0.50 answers with on some CPUs.

    Its own way back (`state_dict` takes it) leaves the scales in the wrong order, in the model too.
    """
    import torch

    n_out, n_in = state.shape
    halves = quantized.reshape(-1, 32)
    codes = torch.cat([halves & 15, halves >> 4], dim=1).reshape(n_out // 32, n_in // 2, 32, 2)
    levels = state.code[codes.transpose(1, 2).reshape(n_out, n_in).long()]
    scales = state.absmax.float().T.repeat_interleave(state.blocksize, dim=1)  # (out, in)
    return levels * scales


def _quantized_format(module: "torch.nn.Module") -> str:
    """Return `nf4`, `fp4` or `int8` for a quantized layer of bitsandbytes, else nothing."""
    state = getattr(module.weight, "quant_state", None)
    if state is not None:
        return state.quant_type
    return "int8" if type(module).__name__ == "Linear8bitLt" else ""


def _int8_scales(module: "torch.nn.Module") -> "torch.Tensor":
    """Return the scale of each row; it moves from the weight to the state at the first pass."""
    scales = getattr(module.weight, "SCB", None)
    return scales if scales is not None else module.state.SCB


def _tensors(module: "torch.nn.Module") -> Iterator["torch.Tensor"]:
    """Yield every tensor that a module keeps: its parameters and its scales."""
    yield from (p for p in module._parameters.values() if p is not None)
    state = getattr(module.weight, "quant_state", None)
    if state is not None:
        yield state.absmax
        if state.nested:
            yield from (state.offset, state.state2.absmax)
    elif _quantized_format(module) == "int8":
        yield _int8_scales(module)


def _shape(module: "torch.nn.Module") -> tuple[int, ...]:
    state = getattr(module.weight, "quant_state", None)
    return tuple(state.shape if state is not None else module.weight.shape)


def _error(module: "torch.nn.Module", original: "torch.nn.Module | None") -> float | None:
    if original is None or not _quantized_format(module):
        return None
    if tuple(original.weight.shape) != _shape(module):
        return None
    return relative_rms(dequantize(module), original.weight)


def _short(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")
