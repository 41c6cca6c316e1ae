"""Blockwise quantization in four bits, its error, and what a quantized model is made of.

Shapes: `block` is the number of weights that share a scale.

Taught in: notebooks/02_quantization.ipynb
"""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = [
    "FORMATS",
    "Blocks",
    "ModuleInfo",
    "codebook",
    "dequantize",
    "inspect",
    "keep_trainable",
    "quantize",
    "relative_error",
]

FORMATS = ("int4", "fp4", "nf4")


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A quantized tensor, one row a block.

    Attributes:
        codes: Rows of the codebook, uint8, shape (blocks, block).
        absmax: The scale of each block, its largest magnitude, float32, shape (blocks,).
        format: One of `FORMATS`.
        shape: The shape of the tensor that was quantized.
    """

    codes: "torch.Tensor"
    absmax: "torch.Tensor"
    format: str
    shape: tuple[int, ...]

    def dequantize(self) -> "torch.Tensor":
        """Return the weights that the codes stand for, float32, in the original shape."""
        levels = codebook(self.format)[self.codes.long()]
        return (levels * self.absmax[:, None]).reshape(self.shape)


def codebook(format: str) -> "torch.Tensor":
    """Return the values that a format can hold, scaled to end at 1.

    Args:
        format: `int4` (-7 to 7, evenly spaced), or `fp4` or `nf4` as bitsandbytes has them.

    Returns:
        The values, float32, ascending; 15 of them in `int4`, otherwise 16.

    Raises:
        ValueError: There is no such format.

    Example:
        >>> codebook("nf4")[-2:]
        tensor([0.7230, 1.0000])

    Taught in: notebooks/02_quantization.ipynb
    Source: Dettmers et al. 2023, QLoRA, appendix E, https://arxiv.org/abs/2305.14314
    """
    import torch

    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: the formats are {', '.join(FORMATS)}")
    if format == "int4":
        return torch.arange(-7, 8) / 7
    from bitsandbytes.functional import get_4bit_type

    return get_4bit_type(format, device="cpu").sort().values


def quantize(weights: "torch.Tensor", *, format: str, block_size: int) -> Blocks:
    """Replace each weight by the nearest of a format's values, each block scaled by its absmax.

    Args:
        weights: Any shape; blocks run along the last dimension, then the one before.
        format: One of `FORMATS`.
        block_size: How many weights share a scale.

    Returns:
        Codes and scales.

    Raises:
        ValueError: No such format, no weights, a number of weights that is no multiple of the
            block size, or NaN or infinity among them.

    Example:
        >>> import torch
        >>> quantize(torch.tensor([0.1, -0.5, 2.0, 0.0]), format="int4", block_size=2).codes
        tensor([[ 8,  0],
                [14,  7]], dtype=torch.uint8)

    Taught in: notebooks/02_quantization.ipynb
    """
    import torch

    levels = codebook(format)
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}: it must be 1 or more")
    if weights.numel() == 0 or weights.numel() % block_size:
        raise ValueError(
            f"{weights.numel()} weights, shape {tuple(weights.shape)}, do not fill blocks of "
            f"{block_size}: choose a block size that divides their number, or pad with zeros"
        )
    if not weights.isfinite().all():
        n_bad = int((~weights.isfinite()).sum())
        raise ValueError(
            f"{n_bad} of {weights.numel()} weights are NaN or infinite: a block takes its scale "
            "from its largest weight, so all of it would be lost. Fix the checkpoint first"
        )
    blocks = weights.detach().float().cpu().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    # bitsandbytes multiplies by the reciprocal too; a division would round a few codes otherwise
    scaled = blocks * (1 / absmax.clamp(min=1e-38))[:, None]
    middles = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(scaled, middles).to(torch.uint8)
    return Blocks(codes, absmax, format, tuple(weights.shape))


def relative_error(weights: "torch.Tensor", *, format: str, block_size: int) -> float:
    """Return the root mean square error of quantization, as a part of the weights' own.

    Args:
        weights: See `quantize`.
        format: See `quantize`.
        block_size: See `quantize`.

    Returns:
        0 for no error; 1 for an error as large as the weights.

    Raises:
        ValueError: See `quantize`.

    Example:
        >>> import torch
        >>> relative_error(torch.tensor([1.0, -1.0]), format="nf4", block_size=2)
        0.0

    Taught in: notebooks/02_quantization.ipynb
    """
    restored = quantize(weights, format=format, block_size=block_size).dequantize()
    return _relative_rms(restored, weights)


# Quantized models ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ModuleInfo:
    """One module of a model that has weights of its own.

    Attributes:
        name: Its path in the model.
        type: Its class.
        shape: Shape of its weight before any packing.
        stored: What its weight is kept as: a number type, or `nf4`, `fp4`, `int8`.
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
        computed = getattr(module, "compute_dtype", None) if quantized else weight.dtype
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
    """Return the weight that a module computes with, unpacked.

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
            return _rearranged(module.weight.data, module.weight.quant_state)
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


def _rearranged(packed: "torch.Tensor", state: Any) -> "torch.Tensor":
    """Unpack a 4-bit weight in the layout that bitsandbytes 0.50 gives it to answer on some CPUs.

    Its own way back (`state_dict` takes it) leaves the scales in the wrong order, in the model too.
    """
    import torch

    n_out, n_in = state.shape
    halves = packed.reshape(-1, 32)
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
    """Give every tensor that a module keeps: its parameters and its scales."""
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
    return _relative_rms(dequantize(module), original.weight)


def _relative_rms(found: "torch.Tensor", expected: "torch.Tensor") -> float:
    expected = expected.detach().float().to(found.device)
    return float((found - expected).norm() / expected.norm().clamp(min=1e-38))


def _short(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")
