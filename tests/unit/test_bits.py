"""Bits against torch and ml_dtypes: every pattern of the narrow formats, random wide ones."""

import math
import re
import struct

import ml_dtypes
import numpy as np
import pytest
import torch

from helpers import bits

FLOATS = {  # name: the type that other people's code calls so
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
    "e8m0": ml_dtypes.float8_e8m0fnu,
}
TORCH = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e5m2": torch.float8_e5m2,
    "fp8_e4m3": torch.float8_e4m3fn,
    "e8m0": torch.float8_e8m0fnu,
}
INTEGERS = {
    "uint4": ml_dtypes.uint4,
    "int4": ml_dtypes.int4,
    "uint8": np.uint8,
    "int8": np.int8,
    "uint16": np.uint16,
    "int16": np.int16,
}


def carrier(n_bits: int):
    return np.uint8 if n_bits <= 8 else np.uint16


def every_value(name: str) -> list[float]:
    width = bits.FORMATS[name].n_bits
    return [bits.decode(f"{pattern:0{width}b}", name) for pattern in range(2**width)]


def random_values(n: int) -> np.ndarray:
    """Return float32 numbers of every size, infinities and NaN among them."""
    patterns = np.random.default_rng(0).integers(0, 2**32, n, dtype=np.uint32)
    return patterns.view(np.float32)


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS])
def test_every_pattern_means_what_ml_dtypes_says(name):
    kind = {**FLOATS, **INTEGERS}[name]
    width = bits.FORMATS[name].n_bits
    patterns = np.arange(2**width, dtype=carrier(width))
    with np.errstate(invalid="ignore"):
        expected = patterns.view(kind) if width > 4 else patterns.view(np.uint8).view(kind)
        expected = expected.astype(np.float64)
    np.testing.assert_array_equal(every_value(name), expected)
    np.testing.assert_array_equal(np.signbit(every_value(name)), np.signbit(expected))


@pytest.mark.parametrize("name", TORCH)
def test_every_pattern_means_what_torch_says(name):
    width = bits.FORMATS[name].n_bits
    patterns = torch.from_numpy(np.arange(2**width, dtype=carrier(width)))
    expected = patterns.view(TORCH[name]).double().numpy()
    np.testing.assert_array_equal(every_value(name), expected)


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS, "nf4"])
def test_every_value_comes_back_as_its_pattern(name):
    for pattern, value in enumerate(every_value(name)):
        if not math.isnan(value):
            assert int(bits.encode(value, name), 2) == pattern, value


@pytest.mark.parametrize("name", FLOATS)
def test_rounding_is_that_of_ml_dtypes(name):
    """Every midpoint between neighbours (a tie), a hair to both sides of it, and random numbers."""
    every = np.array(bits.values(name), dtype=np.float32)  # ml_dtypes rounds doubles twice
    middle = every[1:] / 2 + every[:-1] / 2
    hair = [np.nextafter(middle, np.float32(-np.inf)), np.nextafter(middle, np.float32(np.inf))]
    tried = np.concatenate([middle, *hair, random_values(100_000)])
    if name == "e8m0":  # below 2^-126, where float32 is subnormal, ml_dtypes rounds all upwards
        tried = tried[(tried >= 2.0**-126) & (tried <= 2.0**127)]
    if name == "fp4_e2m1":
        tried = tried[~np.isnan(tried)]
    if (
        name == "fp8_e4m3"
    ):  # past its largest value ml_dtypes gives NaN, where we and torch saturate
        tried = tried[np.abs(tried) < 464]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        expected = tried.astype(FLOATS[name]).astype(np.float64)
    found = [bits.decode(bits.encode(value, name), name) for value in tried.tolist()]
    np.testing.assert_array_equal(found, expected)


def test_fp32_is_that_of_torch_on_a_million_random_numbers():
    numbers = random_values(1_000_000)
    patterns = torch.from_numpy(numbers).view(torch.int32).tolist()
    for value, pattern in zip(numbers.tolist(), patterns, strict=True):
        digits = bits.encode(value, "fp32")
        if math.isnan(value):
            assert math.isnan(bits.decode(digits, "fp32"))
        else:
            assert int(digits, 2) == pattern % 2**32
            assert bits.decode(digits, "fp32") == value


def test_fp32_rounds_doubles_as_torch_does():
    doubles = np.random.default_rng(1).normal(size=100_000) * 10.0 ** np.arange(-50, 50).repeat(
        1000
    )
    expected = torch.from_numpy(doubles).float().double().tolist()
    assert [bits.decode(bits.encode(v, "fp32"), "fp32") for v in doubles.tolist()] == expected


def test_tf32_is_fp32_with_thirteen_bits_rounded_away():
    """No library at hand has TF32; integer arithmetic on the bits of fp32 is the other route."""
    numbers = random_values(100_000)
    numbers = numbers[np.isfinite(numbers)]
    raw = numbers.view(np.uint32).astype(np.uint64)
    rounded = raw + 0xFFF + ((raw >> np.uint64(13)) & np.uint64(1))  # half to even
    expected = [f"{pattern:019b}" for pattern in (rounded >> np.uint64(13)).tolist()]
    assert [bits.encode(value, "tf32") for value in numbers.tolist()] == expected


def test_what_lies_past_the_largest_value():
    assert bits.decode(bits.encode(1e9, "fp16"), "fp16") == math.inf
    assert bits.decode(bits.encode(-1e9, "fp8_e5m2"), "fp8_e5m2") == -math.inf
    assert bits.decode(bits.encode(-1e9, "fp8_e4m3"), "fp8_e4m3") == -448
    assert bits.decode(bits.encode(math.inf, "fp4_e2m1"), "fp4_e2m1") == 6
    assert math.isnan(bits.decode(bits.encode(math.nan, "fp8_e4m3"), "fp8_e4m3"))


def test_fp64_is_how_python_keeps_a_float():
    patterns = np.random.default_rng(2).integers(0, 2**64, 10_000, dtype=np.uint64)
    numbers = [*patterns.view(np.float64).tolist(), 0.0, -0.0, 5e-324, math.inf, math.nan]
    for value in numbers:
        (pattern,) = struct.unpack(">Q", struct.pack(">d", value))
        digits = bits.encode(value, "fp64")
        if math.isnan(value):
            assert math.isnan(bits.decode(digits, "fp64"))
        else:
            assert digits == f"{pattern:064b}" and bits.decode(digits, "fp64") == value


@pytest.mark.parametrize("name", ["fp64", "fp32", "fp16", "bf16"])
def test_limits_are_those_of_torch(name):
    wide = {"fp64": torch.float64, "fp32": torch.float32}
    kind, limits = bits.FORMATS[name], torch.finfo({**TORCH, **wide}[name])
    assert (kind.largest, kind.gap_at_1) == (limits.max, limits.eps)
    assert (kind.smallest_normal, kind.smallest) == (
        limits.tiny,
        limits.smallest_normal * limits.eps,
    )


def test_nf4_is_the_table_of_bitsandbytes():
    from bitsandbytes.functional import get_4bit_type

    assert bits.values("nf4") == get_4bit_type("nf4", device="cpu").tolist()


@pytest.mark.parametrize(
    ("value", "format", "message"),
    [
        (1, "fp12", "unknown format 'fp12': the formats are uint4,"),
        (256, "uint8", "uint8: 256.0 does not fit: 0 to 255 do"),
        (-1, "uint4", "uint4: -1.0 does not fit"),
        (math.inf, "int8", "int8: inf does not fit: -128 to 127 do"),
        (math.nan, "fp4_e2m1", "fp4_e2m1: nan does not fit"),
        (0, "e8m0", "e8m0: 0.0 does not fit: there is no sign and no zero"),
        (1.5, "nf4", "nf4: 1.5 does not fit: .* divide by the largest magnitude"),
        (math.nan, "nf4", "nf4: nan does not fit"),
    ],
)
def test_what_cannot_be_encoded_is_explained(value, format, message):
    with pytest.raises(ValueError, match=message):
        bits.encode(value, format)


def test_other_bad_input_is_explained():
    with pytest.raises(TypeError, match=re.escape("value is [1]: give one number")):
        bits.encode([1], "fp16")
    with pytest.raises(ValueError, match="fp16 takes 16 characters 0 or 1"):
        bits.decode("101", "fp16")
    with pytest.raises(ValueError, match="int4 takes 4 characters"):
        bits.decode("10a1", "int4")
    with pytest.raises(ValueError, match="fp32 has 4,294,967,296 patterns"):
        bits.values("fp32")


def test_an_explanation_names_the_fields():
    """6e-8 is nearest to the smallest subnormal number of fp16, 1/1024 of 2^-14."""
    shown = bits.explain(6e-8, "fp16")
    assert [(f.name, f.bits) for f in shown.fields] == [
        ("sign", "0"),
        ("exponent", "00000"),
        ("mantissa", "0000000001"),
    ]
    assert shown.stored == 2.0**-24
    assert "2^-14, subnormal" in repr(shown)
    page = shown._repr_html_()
    assert "0000000001" in page and "0 + 1/1024" in page
    assert "infinity" in repr(bits.explain(1e9, "fp16"))
    assert "NaN" in repr(bits.explain(math.nan, "fp8_e4m3"))
    assert "1 × -128" in repr(bits.explain(-3, "int8"))
    assert "row 4 of the table" in repr(bits.explain(-0.3, "nf4"))


def test_an_explanation_names_the_format_as_the_text_does():
    """It said fp8_e4m3 where the text says FP8 E4M3."""
    names = {"fp8_e4m3": "FP8 E4M3", "nf4": "NF4", "e8m0": "E8M0", "int8": "int8"}
    for key, name in names.items():
        shown = bits.explain(1, key)
        assert repr(shown).splitlines()[0] == f"1 in {name}"
        assert shown._repr_html_().startswith(f"<p>1 in {name}</p>")


def test_explanations_add_up():
    """The meanings that are shown, put together, give the value that is stored."""
    for value in (0.1, -7.25, 3e-5, 440.0):
        for name in ("fp16", "bf16", "fp8_e4m3", "fp8_e5m2"):
            shown = bits.explain(value, name)
            sign, power, fraction = (field.meaning for field in shown.fields)
            power = power.removesuffix(", subnormal").replace("^", "**")
            assert eval(f"{sign}({power}) * ({fraction})") == shown.stored
