"""The layers of a quantized model: what each is made of, and the weight that it computes with.

Taught in: notebooks/02_quantization.ipynb
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from onegpu.quantization.blocks import relative_rms
from onegpu.quantization.formats import bitsandbytes_format, int8_scales, kept

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["ModuleInfo", "dequantize", "inspect", "keep_trainable"]


@dataclasses.dataclass(frozen=True)
class ModuleInfo:
    """One module of a model that has a weight of its own, or one of its several parameters.

    Attributes:
        name: Its path in the model.
        type: The module's class.
        shape: Shape of its weight before quantization.
        stored: How its weight is kept: a number type, or what it is quantized to, as `nf4`, `fp4`,
            `int8`, `fp8`, `mxfp4`, `awq 4-bit`, `gptq 4-bit`, `hqq 4-bit`, `torchao Int4Tensor`.
        compute: The number type that it multiplies in; `input's` where it takes the input's.
        n_bytes: Memory of weight, bias and scales; without those that another module has already.
        shared_with: The module that owns its weight, or nothing.
        error: Root mean square error of a weight quantized by bitsandbytes against the
            reference's, as a part of the reference's own; None for other weights, and where the
            reference has no module of that name and shape.
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
    """List the weights of a model, and how each is kept.

    Args:
        model: As loaded, quantized or not.
        reference: The same model unquantized, to measure the error of each weight against.

    Returns:
        A row for a module with a weight, and for each parameter of a module that has several, as
        experts have; in the model's order. `pandas.DataFrame(rows)` makes a table of them. The
        bytes are all that is saved of the model, but the codebooks, a few numbers a layer.

    Example:
        >>> import torch
        >>> [row] = inspect(torch.nn.Sequential(torch.nn.Linear(2, 3)))
        >>> row.name, row.shape, row.stored, row.n_bytes
        ('0', (3, 2), 'float32', 36)

    Taught in: notebooks/02_quantization.ipynb
    """
    originals = dict(reference.named_modules()) if reference is not None else {}
    owners: dict[int, str] = {}
    counted: dict[int, torch.Tensor] = {}
    rows = []
    for path, module in model.named_modules():
        for part in kept(module):
            name = ".".join(filter(None, (path, part.name)))
            owner = owners.setdefault(id(part.weight), name)
            new = {id(t): t for t in part.tensors if id(t) not in counted}
            counted |= new
            rows.append(
                ModuleInfo(
                    name=name,
                    type=type(module).__name__,
                    shape=part.shape,
                    stored=part.format or _short(part.weight.dtype),
                    compute=_short(part.compute) if part.compute else "input's",
                    n_bytes=sum(t.nbytes for t in new.values()),
                    shared_with=owner if owner != name else "",
                    error=_error(module, part.shape, originals.get(path)),
                )
            )
    return rows


def dequantize(module: "torch.nn.Module") -> "torch.Tensor":
    """Return the weight that a module computes with, dequantized.

    Args:
        module: A linear layer of bitsandbytes, or any other with a weight.

    Returns:
        The weight in float32, shape (out, in) for a linear layer.

    Raises:
        ValueError: The weight is quantized by another library.

    Taught in: notebooks/03_lora.ipynb
    """
    import bitsandbytes.functional as bnb

    quantized = bitsandbytes_format(module)
    if quantized == "int8":
        return module.weight.data.float() * (int8_scales(module).float() / 127)[:, None]
    if quantized:
        if getattr(module.weight.quant_state, "packing_format_for_cpu", False):
            return _dequantize_rearranged(module.weight.data, module.weight.quant_state)
        return bnb.dequantize_4bit(module.weight.data, module.weight.quant_state).float()
    format = next((part.format for part in kept(module)), "no weight")
    if format:
        raise ValueError(
            f"{type(module).__name__} keeps its weight as {format}: give a linear layer of "
            "bitsandbytes, or one with a plain weight"
        )
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


def _error(
    module: "torch.nn.Module", shape: tuple[int, ...], original: "torch.nn.Module | None"
) -> float | None:
    if original is None or not bitsandbytes_format(module):
        return None
    if tuple(original.weight.shape) != shape:
        return None
    return relative_rms(dequantize(module), original.weight)


def _short(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")
