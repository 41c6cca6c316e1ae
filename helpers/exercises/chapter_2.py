"""Checks of the exercises in notebooks/02_quantization.ipynb."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]


def exercise_1(through_codes: "Callable[[torch.Tensor, int], torch.Tensor]") -> str | None:
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


def exercise_2(unpack: "Callable[[torch.Tensor], torch.Tensor]") -> str | None:
    """Check that two codes come out of each byte in the right order."""
    import torch

    packed = torch.tensor([0x12, 0x3F, 0xA0], dtype=torch.uint8)
    expected, found = [1, 2, 3, 15, 10, 0], unpack(packed).flatten().tolist()
    if found == expected:
        return None
    if len(found) != len(expected):
        return f"three bytes hold six codes, you return {len(found)}"
    return f"the bytes 0x12, 0x3F, 0xA0 hold {expected}, you return {found}"


def exercise_3(bits_per_weight: Callable[[int, int], float]) -> str | None:
    """Check the bits of a double-quantized weight."""
    for block_size, blocks_per_group in ((64, 256), (32, 128), (8, 2)):
        n_weights = block_size * blocks_per_group  # those of one group
        bits = 4 * n_weights + 8 * blocks_per_group + 32
        found = bits_per_weight(block_size, blocks_per_group)
        if abs(found * n_weights - bits) > 1e-3:
            return (
                f"a group of {blocks_per_group} blocks of {block_size} weights takes {bits:,} bits "
                f"in all; yours add up to {found * n_weights:,.1f}"
            )
    return None


def exercise_4(nf4_bytes: Callable[[int, int, bool], float]) -> str | None:
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
