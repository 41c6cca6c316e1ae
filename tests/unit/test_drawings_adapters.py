"""Drawings of adapters: what they show is read back and compared."""

import matplotlib
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

matplotlib.use("Agg")
from drawn import words
from peft import PeftModel
from peft.tuners.lora import LoraModel

from helpers import figures, style
from helpers.figures import kit


def filled(ax, role):
    """Return the extent of each area with a role's color, in inches: x0, y0, x1, y1."""
    color = kit.ROLES[role].fill.lower()
    areas = [patch for patch in ax.patches if to_hex(patch.get_facecolor()) == color]
    return [
        tuple(area.get_path().get_extents(area.get_patch_transform()).extents) for area in areas
    ]


def size(extent):
    x0, y0, x1, y1 = extent
    return x1 - x0, y1 - y0


@pytest.mark.parametrize("shape", [(576, 1536), (1536, 576), (576, 576)])
def test_a_is_as_wide_as_w_and_b_as_high(shape):
    ax = figures.lora_matrices(*shape, rank=16, alpha=32)
    w, *_ = sorted(filled(ax, "frozen"))
    a, b, *_ = filled(ax, "trained")
    width, height = size(w)
    assert height / width == pytest.approx(shape[0] / shape[1])
    assert size(a)[0] == pytest.approx(width) and size(b)[1] == pytest.approx(height)
    assert size(a)[1] == size(b)[0] == pytest.approx(0.16)
    assert a[3] < b[1], "the input goes through A first, from below"


def test_lora_counts_its_numbers():
    found = " ".join(words(figures.lora_matrices(40, 100, rank=2, alpha=3)))
    assert "W: 4,000 numbers" in found
    assert "A and B: 280, 7.0" in found
    for shape in ("40 × 100", "2 × 100", "40 × 2", "× α/r = 3/2"):
        assert shape in found


def test_lora_is_beside_each_linear_layer_and_the_classic_adapter_behind_each_half():
    ax = figures.adapter_places()
    small = [text for text in ax.texts if text.get_bbox_patch() and "✎" in text.get_text()]
    at = {"B A": {}, "adapter": {}}
    for text in small:
        kind = "B A" if "B A" in text.get_text() else "adapter"
        at[kind][round(text.get_position()[1], 2)] = text.get_text().removesuffix(" ✎")
    layers = {
        text.get_text(): round(text.get_position()[1], 2)
        for text in ax.texts
        if text.get_position()[0] < 2 and not text.get_bbox_patch()
    }
    linear = {"q, k, v": "3 × B A", "o": "B A", "gate, up": "2 × B A", "down": "B A"}
    assert at["B A"] == {layers[name]: product for name, product in linear.items()}
    low, high = sorted(at["adapter"])
    assert layers["o"] < low < layers["gate, up"] and layers["down"] < high
    assert not [name for name in ("attention", "norm") if layers[name] in at["B A"]]


def test_norms_and_linear_layers_are_frozen_and_attention_has_no_weights():
    assert len(filled(figures.adapter_places(), "frozen")) == 2 * 6 + 1, "and the key"


def test_uses_are_called_as_peft_calls_them():
    methods = [text for text in words(figures.adapter_uses()) if "model." in text]
    names = [text.split("model.")[1].split("(")[0] for text in methods]
    assert len(names) == 4
    for name in names:
        assert hasattr(PeftModel, name) or hasattr(LoraModel, name), name


def test_an_adapter_that_is_off_is_pale():
    ax = figures.adapter_uses()
    names = {}
    for patch in ax.patches:
        if patch.get_alpha() is not None:
            x, y = patch.get_xy()
            below = [t for t in ax.texts if 0 < y - t.get_position()[1] < 0.7]
            name = min(below, key=lambda text: abs(text.get_position()[0] - x - 0.15))
            names.setdefault(name.get_text(), set()).add(patch.get_alpha())
    assert names["on"] == {1.0} and max(names["off"]) < 1
    assert names["pirate"] == {1.0} and max(names["legal"]) < 1


def test_an_update_is_drawn_to_scale_between_two_levels():
    ax = figures.rounded_back(0.02, 0.005)
    levels = [line.get_xdata()[0] for line in ax.lines if line.get_linewidth() == 2.2]
    before, after = sorted(patch.center[0] for patch in ax.patches if hasattr(patch, "center"))
    gap = levels[2] - levels[1]
    assert before == pytest.approx(levels[1])
    assert after - before == pytest.approx(gap / 4)
    (shaded,) = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert shaded.get_x() + shaded.get_width() == pytest.approx(levels[1] + gap / 2)
    found = " ".join(words(ax))
    assert "halfway: 0.01" in found and "update of 0.005" in found


@pytest.mark.parametrize(("update", "told"), [(0.009, "puts it back"), (0.011, "takes it there")])
def test_an_update_beyond_half_a_gap_is_not_rounded_away(update, told):
    assert told in style.alt_text(figures.rounded_back(0.02, update).figure)


@pytest.mark.parametrize("update", [0.0, -0.001, 0.019])
def test_an_update_that_has_no_place_is_refused(update):
    with pytest.raises(ValueError, match="it must be above 0 and at most 0.9 of 0.02"):
        figures.rounded_back(0.02, update)
