"""Blockwise quantization in four bits, and its error.

Shapes: `block` is the number of weights that share a scale.

Taught in: notebooks/02_quantization.ipynb
"""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["FORMATS", "Blocks", "codebook", "quantize", "relative_error", "relative_rms"]

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
        """Return the weights that the codes are for, float32, in the original shape."""
        levels = codebook(self.format)[self.codes.long()]
        return (levels * self.absmax[:, None]).reshape(self.shape)


def codebook(format: str) -> "torch.Tensor":
    """Return the values that a format can hold, scaled to end at 1.

    Args:
        format: `int4` (-7 to 7, evenly spaced), or `fp4` or `nf4` as bitsandbytes has them.

    Returns:
        The values, float32, ascending; 15 of them in `int4`, else 16.

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
    # bitsandbytes multiplies by the reciprocal too; a division would round a few codes differently
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
    return relative_rms(restored, weights)


def relative_rms(found: "torch.Tensor", expected: "torch.Tensor") -> float:
    """Return the root mean square of a difference, as a part of what was expected.

    Args:
        found: The weights to judge, float32.
        expected: What they should be, of the same shape.

    Returns:
        0 where they are the same; 1 for an error as large as the weights.
    """
    expected = expected.detach().float().to(found.device)
    return float((found - expected).norm() / expected.norm().clamp(min=1e-38))
