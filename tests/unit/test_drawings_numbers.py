"""The drawings of Appendix B: what stands where, read back from the axes."""

import math

import numpy as np
import pytest

from helpers import bits, figures

FOUR_BITS = {"MXFP4": (32, "E8M0", 8), "NVFP4": (16, "E4M3", 8), "NF4": (64, "FP32", 32)}


@pytest.mark.parametrize("n_bits", [3, 4])
def test_each_pattern_of_the_circle_has_both_its_values(n_bits):
    """Outside the value of uint4, inside that of int4, clockwise from the top."""
    ax = figures.integer_circle(n_bits)
    n = 2**n_bits
    triples = [ax.texts[3 * i : 3 * i + 3] for i in range(n)]
    center = np.mean([pattern.get_position() for pattern, _, _ in triples], axis=0)
    for i, (pattern, outside, inside) in enumerate(triples):
        assert pattern.get_text() == f"{i:0{n_bits}b}"
        assert int(outside.get_text()) == i
        signed = i - n if i >= n / 2 else i
        assert inside.get_text().replace("−", "-") == str(signed)
        if n_bits == 4:
            assert signed == bits.decode(pattern.get_text(), "int4")
        x, y = pattern.get_position() - center
        assert math.atan2(x, y) % (2 * math.pi) == pytest.approx(2 * math.pi * i / n, abs=1e-6)
        far = [np.hypot(*(t.get_position() - center)) for t in (inside, pattern, outside)]
        assert far == sorted(far)


def test_the_circle_marks_the_two_jumps():
    """After 15 comes 0 at the top, after 7 comes -8 at the bottom."""
    ax = figures.integer_circle()
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == 2
    (unsigned, signed) = arrows
    x, y = np.mean([text.get_position() for text in ax.texts[0:48:3]], axis=0)  # the center
    assert unsigned.xyann[1] > unsigned.xy[1] - 0.5 and unsigned.xy[0] == pytest.approx(x)
    assert signed.xy[0] == pytest.approx(x) and signed.xy[1] < y < unsigned.xy[1]
    assert unsigned.xyann[0] < x < signed.xyann[0], "both arrows run clockwise"
    assert {"✗ after 15 comes 0", "✗ after 7 comes −8"} <= {t.get_text() for t in ax.texts}


def test_a_circle_of_other_widths_is_refused():
    with pytest.raises(ValueError, match="n_bits is 8: give 3 or 4"):
        figures.integer_circle(8)


def test_blocks_are_as_long_as_they_have_bits_and_each_bar_holds_as_many_numbers():
    ax = figures.shared_scales(FOUR_BITS)
    widths = [patch.get_width() for patch in ax.patches]
    bit = widths[0] / 128
    expected = [128, 8] * 2 + [64, 8] * 4 + [256, 32]
    assert [round(width / bit, 6) for width in widths] == expected
    written = {text.get_text() for text in ax.texts}
    assert {"4.25 bits per number", "4.5 bits per number", "32 × 4 bits"} <= written
    assert "NVFP4: 16 numbers share a scale in E4M3 of 8 bits" in ax.get_label()


def test_no_blocks_are_refused():
    with pytest.raises(ValueError, match="give at least one format"):
        figures.shared_scales({})
