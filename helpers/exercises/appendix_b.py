"""Checks of the exercises in notebooks/appendix_b_data_types.ipynb."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from helpers import bits

if TYPE_CHECKING:
    import torch

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]


def exercise_1(stuck_at: Callable[[float, int], float]) -> str | None:
    """Check where a running sum of equal steps stops, by adding them up."""
    cases = [("fp8_e5m2", 0.3), ("bf16", 0.1), ("bf16", 1.5), ("bf16", 2.0), ("fp16", 0.1)]
    for format, step in [*cases, ("fp16", 1.0), ("fp16", 0.75)]:
        total, before = 0.0, -1.0
        while total != before:
            before, total = total, bits.decode(bits.encode(total + step, format), format)
        mantissa_bits = bits.FORMATS[format].mantissa_bits
        found = stuck_at(step, mantissa_bits)
        if found != total:
            return (
                f"with {mantissa_bits} mantissa bits, a sum of steps of {step:g} stops at "
                f"{total:g}; you say {found:g}"
            )
    return None


def exercise_2(from_e5m2: Callable[[str], float]) -> str | None:
    """Check a decoder of FP8 E5M2."""
    for pattern in range(256):
        digits = f"{pattern:08b}"
        expected, found = bits.decode(digits, "fp8_e5m2"), from_e5m2(digits)
        if found != expected and not (math.isnan(found) and math.isnan(expected)):
            subnormal = "a subnormal number: its power of two is that of exponent 1"
            kind = subnormal if digits[1:6] == "00000" else ""
            kind = "its exponent bits are all 1" if digits[1:6] == "11111" else kind
            return f"{digits} is {expected:g}, you say {found:g}" + (f" ({kind})" if kind else "")
    return None


def exercise_3(root_mean_square: "Callable[[torch.Tensor], torch.Tensor]") -> str | None:
    """Check a root mean square in FP16 of what has a normal FP16 number, or zero, as its own."""
    import torch

    cases = {
        "3 and -4": [3.0, -4.0],
        "four times 256": [256.0] * 4,
        "a thousand times -60,000": [-60_000.0] * 1000,
        "0.0001 and 0.0002": [1e-4, 2e-4],
        "60,000 and 99,999 zeros": [60_000.0] + [0.0] * 99_999,
        "0.02 and numbers 5,000 times smaller": [0.02] + [4e-6] * 20_000,
        "60,000 and three zeros": [60_000.0, 0.0, 0.0, 0.0],
        "zeros": [0.0, 0.0],
    }
    for name, numbers in cases.items():
        x = torch.tensor(numbers, dtype=torch.float16)
        expected = x.double().square().mean().sqrt().item()
        with _dtypes_used() as used:
            answer = root_mean_square(x)
        found = float(answer)
        if not abs(found - expected) <= 0.01 * expected:
            return f"of {name} it is {expected:.3g}, you say {found:.3g}"
        if others := used - {torch.float16}:
            return f"right, but it left FP16: there is a tensor in {others.pop()}"
        if not isinstance(answer, torch.Tensor) or answer.dtype != torch.float16:
            return f"right, but it is to be a tensor in float16, not {answer!r}"
    return None


def exercise_4(best_scale: "Callable[[torch.Tensor], float]") -> str | None:
    """Check the power of two with the smallest squared error in FP4 E2M1."""
    import torch

    random = torch.Generator().manual_seed(0)
    blocks = [torch.randn(32, generator=random) * size for size in (0.02, 0.02, 1.0, 30.0)]
    for top in (4.1, 6.5, 7.9):  # in units of the rule's scale: the last two are clipped
        block = torch.randn(32, generator=random).clamp(-2, 2)
        block[5] = -top
        blocks += [block, torch.tensor([top / 64])]
    for block in blocks:
        scale = float(best_scale(block))
        if scale <= 0 or math.frexp(scale)[0] != 0.5:
            return f"{scale:g} is no power of two"
        power = math.floor(math.log2(block.abs().max().item())) - 2
        tried = {2.0 ** (power + i): 0.0 for i in range(-3, 4)}
        tried = {other: _squared_error(block, other) for other in tried}
        best = min(tried, key=lambda other: tried[other])
        error = _squared_error(block, scale)
        if error > tried[best] * (1 + 1e-6) + 1e-12:
            top = block.abs().max().item()
            return (
                f"for a block whose largest magnitude is {top:.3g} you say {scale:g}, with a "
                f"squared error of {error:.3g}; with {best:g} it is {tried[best]:.3g}"
            )
    return None


def _squared_error(block: "torch.Tensor", scale: float) -> float:
    restored = [
        scale * bits.decode(bits.encode(value / scale, "fp4_e2m1"), "fp4_e2m1")
        for value in block.tolist()
    ]
    pairs = zip(block.tolist(), restored, strict=True)
    return sum((value - back) ** 2 for value, back in pairs)


def _dtypes_used():
    """Return a context that gathers the float types of all tensors that are made in it."""
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __enter__(self) -> set:
            super().__enter__()
            self.seen: set = set()
            return self.seen

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.is_floating_point():
                self.seen.add(result.dtype)
            return result

    return Watch()
