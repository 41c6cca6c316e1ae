"""Checks of the exercises in notebooks/appendix_b_data_types.ipynb."""

import itertools
import math
from collections.abc import Callable, Sequence

from helpers import bits

__all__ = ["exercise_1", "exercise_2", "exercise_3"]


def exercise_1(gap_above: Callable[[float, int], float]) -> str | None:
    """Check the distance from a positive normal number to the next one."""
    for format in ("fp16", "bf16", "fp8_e4m3"):
        kind = bits.FORMATS[format]
        held = [v for v in bits.values(format) if v >= kind.smallest_normal]
        for value, following in itertools.pairwise(held):
            found = gap_above(value, kind.mantissa_bits)
            if found != following - value:
                return (
                    f"with {kind.mantissa_bits} mantissa bits the number after {value:g} is "
                    f"{following:g}, {following - value:g} away; you say {found:g}"
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


def exercise_3(loss_scale: Callable[[Sequence[float]], float]) -> str | None:
    """Check the largest power of two that scales gradients without overflow in FP16."""
    largest = bits.FORMATS["fp16"].largest
    for gradients in ([1e-8, 3e-4], [2.0, -0.5], [-1e-3, 1e-6], [1.0] * 100, [largest], [1e6]):
        scale = loss_scale(gradients)
        top = max(abs(g) for g in gradients)
        shown = ", ".join(f"{g:g}" for g in gradients[:2]) + (", ..." if gradients[2:] else "")
        if math.frexp(scale)[0] != 0.5:
            return f"for {shown} you say {scale:g}, which is no power of two"
        if top * scale > largest:
            return f"for {shown} a scale of {scale:g} gives {top * scale:g}, past {largest:g}"
        if top * scale * 2 <= largest:
            return f"for {shown} the scale could be twice your {scale:g} and nothing overflows"
    return None
