"""The bits of a number: integers, floating point from 64 bits down to 4, and NF4's table.

Bits are written as a string of 0 and 1, the most significant first. The formats themselves are in
`helpers.number_formats`.

Taught in: notebooks/appendix_b_data_types.ipynb
"""

import dataclasses
import html
import math

from helpers.number_formats import FORMATS, FloatFormat, IntegerFormat, TableFormat

__all__ = ["FORMATS", "Explanation", "Field", "decode", "encode", "explain", "values"]


@dataclasses.dataclass(frozen=True)
class Field:
    """A group of bits with one meaning.

    Attributes:
        name: Such as `sign`, `exponent`, `mantissa`.
        bits: Its bits.
        meaning: What they say.
    """

    name: str
    bits: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A value's bits, field by field: colored in a notebook, aligned text elsewhere.

    Attributes:
        value: The number asked for.
        format: The format's name.
        stored: The number that its bits stand for.
        fields: The bits in groups, most significant first.
    """

    value: float
    format: str
    stored: float
    fields: tuple[Field, ...]

    def __repr__(self) -> str:
        names = max(len(field.name) for field in self.fields)
        widths = max(len(field.bits) for field in self.fields)
        lines = [f"  {f.name:{names}}  {f.bits:{widths}}  {f.meaning}" for f in self.fields]
        return "\n".join([f"{self.value!r} in {self._name()}", *lines, f"  {self._verdict()}"])

    def _repr_html_(self) -> str:
        cell = "padding:2px 8px;text-align:center;color:#111;background:"
        colors = {"sign": "#a596bd", "exponent": "#d5cae2", "mantissa": "#e9e9e6"}
        bits, names, meanings = "", "", ""
        for field in self.fields:
            style = cell + colors.get(field.name, "#c9e8dc")
            spaced = f"{style};font-family:monospace;letter-spacing:2px"
            bits += f'<td style="{spaced}">{field.bits}</td>'
            names += f'<td style="{style}">{field.name}</td>'
            meanings += f'<td style="{style}">{html.escape(field.meaning)}</td>'
        rows = "".join(f"<tr>{row}</tr>" for row in (bits, names, meanings))
        return (
            f"<p>{self.value!r} in {self._name()}</p><table>{rows}</table><p>{self._verdict()}</p>"
        )

    def _name(self) -> str:
        """Return the format's name as the text writes it: int8, but FP8 E4M3."""
        whole = isinstance(FORMATS[self.format], IntegerFormat)
        return self.format if whole else self.format.upper().replace("_", " ")

    def _verdict(self) -> str:
        error = self.stored - self.value
        if error == 0 or not math.isfinite(error):
            return f"stored: {self._number(self.stored)}"
        return f"stored: {self._number(self.stored)}, off by {error:.3g}"

    def _number(self, value: float) -> str:
        whole = isinstance(FORMATS[self.format], IntegerFormat)
        return str(int(value)) if whole else repr(value)


def encode(value: float, format: str) -> str:
    """Return the bits of a value, rounded to the nearest that the format has, ties to even.

    Past the largest value a float format with infinities gives infinity; one without them
    saturates: it gives its largest value.

    Args:
        value: Any number; for `nf4` between -1 and 1.
        format: A key of `FORMATS`.

    Returns:
        As many 0 and 1 as the format has bits, most significant first.

    Raises:
        ValueError: No such format, or the format has nothing for the value: an integer out of
            range, NaN where there is none, zero or a negative number in `e8m0`.
        TypeError: The value is not a number.

    Example:
        >>> encode(-2.5, "fp16")
        '1100000100000000'
        >>> encode(-56, "int8")
        '11001000'

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    kind = _format(format)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"value is {value!r}: give one number") from None
    try:
        pattern = kind.pattern(number)
    except ValueError as error:
        raise ValueError(f"{format}: {error}") from None
    return f"{pattern:0{kind.n_bits}b}"


def decode(bits: str, format: str) -> float:
    """Return the value that bits stand for.

    Args:
        bits: As many 0 and 1 as the format has bits; spaces and underscores may group them.
        format: A key of `FORMATS`.

    Returns:
        The value; infinity or NaN where the bits say so.

    Raises:
        ValueError: No such format, or not its number of bits, or another character.

    Example:
        >>> decode("1 10000 0100000000", "fp16")
        -2.5

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    kind = _format(format)
    digits = bits.replace(" ", "").replace("_", "")
    if len(digits) != kind.n_bits or set(digits) - {"0", "1"}:
        raise ValueError(f"bits are {bits!r}: {format} takes {kind.n_bits} characters 0 or 1")
    return kind.value(int(digits, 2))


def explain(value: float, format: str) -> Explanation:
    """Show how a format keeps a value, field by field.

    Args:
        value: See `encode`.
        format: A key of `FORMATS`.

    Returns:
        The explanation, to be shown as the last line of a cell, or printed.

    Raises:
        ValueError: See `encode`.
        TypeError: See `encode`.

    Example:
        >>> explain(0.1, "fp16")
        0.1 in FP16
          sign      0           +
          exponent  01011       2^(11 - 15)
          mantissa  1001100110  1 + 614/1024
          stored: 0.0999755859375, off by -2.44e-05

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    digits = encode(value, format)
    fields, start = [], 0
    for name, width, meaning in _format(format).fields(int(digits, 2)):
        fields.append(Field(name, digits[start : start + width], meaning))
        start += width
    return Explanation(value, format, decode(digits, format), tuple(fields))


def values(format: str) -> list[float]:
    """Return every finite value that a format of at most 16 bits can hold.

    Args:
        format: A key of `FORMATS`.

    Returns:
        The values, ascending, each once.

    Raises:
        ValueError: No such format, or one of more than 16 bits.

    Example:
        >>> values("fp4_e2m1")[-4:]
        [2.0, 3.0, 4.0, 6.0]

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    kind = _format(format)
    if kind.n_bits > 16:
        raise ValueError(f"{format} has {2**kind.n_bits:,} patterns: ask for one of up to 16 bits")
    every = (kind.value(pattern) for pattern in range(2**kind.n_bits))
    return sorted({value for value in every if math.isfinite(value)})


def _format(name: str) -> IntegerFormat | FloatFormat | TableFormat:
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}: the formats are {', '.join(FORMATS)}")
    return FORMATS[name]
