"""Drawings of quantization: what they show is read back and compared."""

import matplotlib
import pytest
from matplotlib.colors import to_hex

matplotlib.use("Agg")
from drawn import words

from helpers import figures
from helpers.figures import kit, quantized

LEVELS = [-1.0, -0.6, -0.35, -0.1, 0.0, 0.1, 0.4, 1.0]


def row(ax, name):
    """Return what is written in a row of the table, from left to right, without its name."""
    places = {text.get_text(): text.get_position()[1] for text in ax.texts}
    in_row = [text for text in ax.texts if abs(text.get_position()[1] - places[name]) < 0.02]
    ordered = sorted(in_row, key=lambda text: text.get_position()[0])
    return [text.get_text().replace("−", "-") for text in ordered if text.get_text()][1:]


def test_each_weight_goes_to_its_nearest_level_and_back():
    ax = figures.number_line([0.6, -1.1, 0.09], LEVELS, absmax=2.0)
    assert row(ax, "weight") == ["-1.100", "0.090", "0.600"]
    assert row(ax, "code of the level") == ["1", "4", "6"]
    assert row(ax, "stored: 4 bits") == ["0001", "0100", "0110"]
    assert row(ax, "restored") == ["-1.200", "0.000", "0.800"]
    assert row(ax, "error") == ["-0.100", "-0.090", "+0.200"]


def test_arrows_end_at_the_levels_that_the_table_names():
    ax = figures.number_line([0.6, -1.1, 0.09], LEVELS, absmax=2.0)
    arrows = [note for note in ax.texts if hasattr(note, "xyann")]
    ends = sorted((note.xyann[0], note.xy[0]) for note in arrows)
    along = quantized._along
    starts = [along(share) for share in (-0.55, 0.045, 0.3)]
    assert [start for start, _ in ends] == pytest.approx(starts)
    assert [end for _, end in ends] == pytest.approx([along(share) for share in (-0.6, 0.0, 0.4)])
    written = {text.get_text(): text.get_position()[0] for text in ax.texts}
    assert [written[str(i)] for i in (2, 3, 5)] == pytest.approx(
        [along(LEVELS[i]) for i in (2, 3, 5)]
    )


def test_weights_beyond_the_scale_and_levels_out_of_order_are_refused():
    with pytest.raises(ValueError, match=r"values must be from -1\.0 to 1\.0"):
        figures.number_line([1.5], LEVELS, absmax=1.0)
    with pytest.raises(ValueError, match="levels must ascend"):
        figures.number_line([0.5], LEVELS[::-1], absmax=1.0)


def test_what_a_layer_keeps_is_as_high_as_it_has_bytes():
    ax = figures.quantized_layer(1000, 640, block_size=64)
    found = " ".join(words(ax))
    for size in ("kept: 1.28 MB", "kept: 0.32 MB", "kept: 0.04 MB"):
        assert size in found, "two bytes a weight; half a byte; four bytes for 64"
    color = kit.ROLES["frozen"].fill.lower()
    kept = [patch for patch in ax.patches if to_hex(patch.get_facecolor()) == color]
    heights = [patch.get_path().get_extents(patch.get_patch_transform()).height for patch in kept]
    assert sorted(heights) == pytest.approx([0.9 / 32, 0.9 / 4, 0.9])


def test_only_the_4_bit_layer_dequantizes():
    ax = figures.quantized_layer(1000, 640, block_size=64)
    places = {text.get_text(): text.get_position()[1] for text in ax.texts}
    (border,) = {
        y for line in ax.lines if len(set(line.get_ydata())) == 1 for y in line.get_ydata()
    }
    assert places["dequantize"] < border and places["cast"] < border
    assert not [text for text in words(ax) if "pack" in text]


def test_bars_of_a_block_are_as_long_as_they_have_bits():
    ax = figures.block_scales(1000, 640, block_size=32)
    color = kit.ROLES["frozen"].fill.lower()
    frozen = [patch for patch in ax.patches if to_hex(patch.get_facecolor()) == color]
    codes = [patch for patch in frozen if patch.get_height() != patch.get_width()]
    inch = codes[0].get_width() / (32 * 4)  # of a bit
    assert [patch.get_width() for patch in codes] == pytest.approx([128 * inch] * 2)
    after = round(codes[0].get_x() + codes[0].get_width(), 3)
    scales = [p.get_width() for p in ax.patches if round(p.get_x(), 3) == after and p not in frozen]
    assert sorted(scales) == pytest.approx([8 * inch, 32 * inch])


def test_bits_of_one_scale_and_of_two_are_written_and_whole_blocks_asked_for():
    found = " ".join(words(figures.block_scales(1000, 640, block_size=32)))
    assert "5 bits a weight" in found and "4.254 bits a weight" in found
    with pytest.raises(ValueError, match="rows of 96 can't be cut into blocks of 64"):
        figures.block_scales(64, 96, block_size=64)
