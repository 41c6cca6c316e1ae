"""Number formats: which value each pattern of bits stands for, and which pattern is nearest.

Values are Python floats, which hold every value of every format here exactly.

Taught in: notebooks/appendix_b_data_types.ipynb
"""

import dataclasses
import math

__all__ = ["FORMATS", "FloatFormat", "IntegerFormat", "TableFormat"]


@dataclasses.dataclass(frozen=True)
class IntegerFormat:
    """Whole numbers; signed ones in two's complement.

    Attributes:
        n_bits: Width in bits.
        signed: Whether the first bit counts negatively.
    """

    n_bits: int
    signed: bool

    @property
    def smallest(self) -> int:
        """The least value."""
        return -(2 ** (self.n_bits - 1)) if self.signed else 0

    @property
    def largest(self) -> int:
        """The greatest value."""
        return 2 ** (self.n_bits - self.signed) - 1

    def pattern(self, value: float) -> int:
        """Return the bits of a value as an unsigned integer."""
        if not math.isfinite(value) or not self.smallest <= round(value) <= self.largest:
            raise ValueError(f"{value} does not fit: {self.smallest} to {self.largest} do")
        return round(value) % 2**self.n_bits

    def value(self, pattern: int) -> float:
        """Return the value of a pattern."""
        return float(pattern - 2**self.n_bits if pattern > self.largest else pattern)

    def fields(self, pattern: int) -> list[tuple[str, int, str]]:
        """Return name, width and meaning of each field of a pattern."""
        first = pattern >> (self.n_bits - 1)
        rest = pattern - (first << (self.n_bits - 1))
        weight = -(2 ** (self.n_bits - 1))
        if not self.signed:
            return [("integer", self.n_bits, str(pattern))]
        return [("sign", 1, f"{first} × {weight}"), ("integer", self.n_bits - 1, str(rest))]


@dataclasses.dataclass(frozen=True)
class FloatFormat:
    """Floating point: sign, exponent, mantissa.

    Attributes:
        exponent_bits: Width of the exponent, whose bias is half its range, rounded down.
        mantissa_bits: Width of the mantissa.
        specials: What the largest exponent means: `ieee` infinity and NaN; `nan` one NaN a sign,
            all bits 1, and values otherwise; `none` values only.
        signed: Whether there is a sign bit. An unsigned format here has no zero either.
    """

    exponent_bits: int
    mantissa_bits: int
    specials: str = "ieee"
    signed: bool = True

    @property
    def n_bits(self) -> int:
        """Width in bits."""
        return self.signed + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """What is subtracted from the exponent's bits to get the power of two."""
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def largest(self) -> float:
        """The largest finite value."""
        return self.value(self._largest_pattern)

    @property
    def smallest_normal(self) -> float:
        """The smallest positive value with full precision."""
        return 2.0 ** (self._least_exponent)

    @property
    def smallest(self) -> float:
        """The smallest positive value: the smallest subnormal one where there are such."""
        return 2.0 ** (self._least_exponent - self.mantissa_bits)

    @property
    def gap_at_1(self) -> float:
        """The distance from 1 to the next larger value, also called epsilon."""
        return 2.0**-self.mantissa_bits

    @property
    def _least_exponent(self) -> int:
        return (1 if self.signed else 0) - self.bias

    @property
    def _largest_pattern(self) -> int:
        all_ones = 2 ** (self.exponent_bits + self.mantissa_bits) - 1
        return all_ones - {"ieee": 2**self.mantissa_bits, "nan": 1, "none": 0}[self.specials]

    def pattern(self, value: float) -> int:
        """Return the bits of the nearest value, the even one of two, as an unsigned integer."""
        sign = int(math.copysign(1, value) < 0) << (self.n_bits - 1)
        magnitude = abs(value)
        if not self.signed and not value > 0:
            raise ValueError(f"{value} does not fit: there is no sign and no zero")
        if math.isnan(value):
            if self.specials == "none":
                raise ValueError("nan does not fit: this format has no pattern for it")
            quiet = max(1, 2 ** (self.mantissa_bits - 1)) if self.specials == "ieee" else 1
            return sign + self._largest_pattern + quiet + (self.specials == "ieee")
        if math.isinf(value):
            return sign + self._largest_pattern + (self.specials == "ieee")
        # Positive patterns are numbered in the order of their values. Within one power of two the
        # steps are equal, so counting steps gives the number; a carry lands on the next power.
        power = math.frexp(magnitude)[1] - 1 if magnitude else self._least_exponent
        exponent = max(power, self._least_exponent)
        steps = round(math.ldexp(magnitude, self.mantissa_bits - exponent))  # half to even
        number = steps + ((exponent - self._least_exponent) << self.mantissa_bits)
        if not self.signed:
            number = max(number - 1, 0)  # no pattern is spent on zero
        return sign + min(number, self._largest_pattern + (self.specials == "ieee"))

    def value(self, pattern: int) -> float:
        """Return the value of a pattern."""
        sign, exponent, mantissa = self.parts(pattern)
        magnitude = pattern & (2 ** (self.exponent_bits + self.mantissa_bits) - 1)
        if magnitude > self._largest_pattern:
            is_infinity = self.specials == "ieee" and mantissa == 0
            return math.copysign(math.inf if is_infinity else math.nan, -sign or 1)
        if exponent == 0 and self.signed:
            result = math.ldexp(mantissa, self._least_exponent - self.mantissa_bits)
        else:
            fraction = 2**self.mantissa_bits + mantissa
            result = math.ldexp(fraction, exponent - self.bias - self.mantissa_bits)
        return -result if sign else result

    def parts(self, pattern: int) -> tuple[int, int, int]:
        """Return sign, exponent and mantissa of a pattern as unsigned integers."""
        mantissa = pattern & (2**self.mantissa_bits - 1)
        exponent = (pattern >> self.mantissa_bits) & (2**self.exponent_bits - 1)
        return pattern >> (self.exponent_bits + self.mantissa_bits), exponent, mantissa

    def fields(self, pattern: int) -> list[tuple[str, int, str]]:
        """Return name, width and meaning of each field of a pattern."""
        sign, exponent, mantissa = self.parts(pattern)
        steps = 2**self.mantissa_bits
        power, fraction = f"2^({exponent} - {self.bias})", f"1 + {mantissa}/{steps}"
        if not math.isfinite(self.value(pattern)):
            power = "infinity and NaN" if self.specials == "ieee" else "NaN where all bits are 1"
            fraction = "infinity" if self.specials == "ieee" and not mantissa else "NaN"
        elif exponent == 0 and self.signed:
            power, fraction = f"2^{self._least_exponent}, subnormal", f"0 + {mantissa}/{steps}"
        found = [("exponent", self.exponent_bits, power)]
        if self.signed:
            found.insert(0, ("sign", 1, "-" if sign else "+"))
        if self.mantissa_bits:
            found.append(("mantissa", self.mantissa_bits, fraction))
        return found


@dataclasses.dataclass(frozen=True)
class TableFormat:
    """Bits that are a row number in a table of values.

    Attributes:
        table: The values, ascending; as many as there are patterns.
    """

    table: tuple[float, ...]

    @property
    def n_bits(self) -> int:
        """Width in bits."""
        return (len(self.table) - 1).bit_length()

    @property
    def smallest(self) -> float:
        """The least value."""
        return self.table[0]

    @property
    def largest(self) -> float:
        """The greatest value."""
        return self.table[-1]

    def pattern(self, value: float) -> int:
        """Return the row of the nearest value, the lower one of two."""
        if not self.smallest <= value <= self.largest:
            raise ValueError(
                f"{value} does not fit: {self.smallest} to {self.largest} do; "
                "divide by the largest magnitude of the block first"
            )
        return min(range(len(self.table)), key=lambda row: abs(self.table[row] - value))

    def value(self, pattern: int) -> float:
        """Return the value in a row."""
        return self.table[pattern]

    def fields(self, pattern: int) -> list[tuple[str, int, str]]:
        """Return name, width and meaning of the one field."""
        return [("row", self.n_bits, f"row {pattern} of the table")]


# Dettmers et al. 2023, QLoRA, appendix E, as float32 numbers. Chapter 2 derives them.
_NF4 = (-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635)
_NF4 += (-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725)
_NF4 += (0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941)
_NF4 += (0.7229568362236023, 1.0)

# The formats that `bits` takes, by name.
FORMATS: dict[str, IntegerFormat | FloatFormat | TableFormat] = {
    **{f"uint{n}": IntegerFormat(n, signed=False) for n in (4, 8, 16, 32)},
    **{f"int{n}": IntegerFormat(n, signed=True) for n in (4, 8, 16, 32)},
    "fp64": FloatFormat(11, 52),
    "fp32": FloatFormat(8, 23),
    "tf32": FloatFormat(8, 10),  # how tensor cores read an fp32 number
    "fp16": FloatFormat(5, 10),
    "bf16": FloatFormat(8, 7),
    "fp8_e5m2": FloatFormat(5, 2),
    "fp8_e4m3": FloatFormat(4, 3, specials="nan"),
    "fp4_e2m1": FloatFormat(2, 1, specials="none"),
    "e8m0": FloatFormat(8, 0, specials="nan", signed=False),  # the scale that an MXFP4 block shares
    "nf4": TableFormat(_NF4),
}
