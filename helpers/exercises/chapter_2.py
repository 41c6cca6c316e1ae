"""Checks of the exercises in notebooks/02_quantization.ipynb."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def exercise_1(nf4_bytes: Callable[[int, int, bool], float]) -> str | None:
    """Check the footprint of a model in NF4."""
    for n_linear, n_embedding, tied, what in (
        (6400, 0, True, "6,400 quantized weights are 3,200 bytes and 100 scales of 4"),
        (0, 1000, True, "with tied=True there is one matrix of 1,000 weights, 2 bytes each"),
        (0, 1000, False, "with tied=False the output layer is a second matrix"),
        (6400, 1000, False, "with tied=False, quantized layers and both matrices together"),
    ):
        expected = n_linear * 0.5 + n_linear / 64 * 4 + 2 * n_embedding * (1 if tied else 2)
        found = nf4_bytes(n_linear, n_embedding, tied)
        if abs(found - expected) > 0.5:
            return f"{what}: {expected:g} bytes, you say {found:g}"
    return None


def exercise_2(through_codes: "Callable[[torch.Tensor, int], torch.Tensor]") -> str | None:
    """Check a round trip through codes between minimum and maximum."""
    import torch

    for start, n_bits in ((0.0, 4), (-3.3, 4), (10.0, 3)):
        values = start + torch.arange(2.0**n_bits)
        found = through_codes(values, n_bits)
        if not torch.allclose(found, values, atol=1e-4):
            return (
                f"{len(values)} even values from {start:g} on fit into {n_bits} bits without "
                f"error, with {len(values) - 1} steps between them; you return "
                f"{[round(v, 2) for v in found.tolist()]}"
            )
    between = torch.tensor([0.0, 0.4, 0.6, 15.0])
    if not torch.allclose(
        through_codes(between, 4), torch.tensor([0.0, 0.0, 1.0, 15.0]), atol=1e-4
    ):
        return "with steps of 1 from 0 to 15, 0.4 must become 0 and 0.6 must become 1: round"
    return None


def exercise_3(worst_kind: str) -> str | None:
    """Check which kind of layer the napkin method does the most damage to."""
    if not isinstance(worst_kind, str) or worst_kind not in KINDS:
        return f"you say {worst_kind!r}: give one of {', '.join(KINDS)}, in quotes"
    if worst_kind != "down_proj":
        return (
            f"{worst_kind} isn't it: another kind costs at least twice as many nats. Run the loop "
            "over all seven, with one scale for each matrix, and compare with 16 bits"
        )
    return None


def exercise_4(int4_block_size: int) -> str | None:
    """Check the largest block size at which INT4 loses less than NF4 in blocks of 64."""
    size = int4_block_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1 or size & (size - 1):
        return f"you say {size!r}: give a power of two, such as 32"
    if size > 8:
        return (
            f"in blocks of {size} INT4 still loses more than NF4 in blocks of 64: print both "
            "losses above 16 bits, and go on halving"
        )
    if size < 8:
        return f"blocks of {size} do it, but so do larger ones, which need fewer scales"
    return None
