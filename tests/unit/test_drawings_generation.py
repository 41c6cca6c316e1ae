"""Drawings of generation and of rotary positions: what they show is read back and compared."""

import math

import matplotlib
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Wedge

matplotlib.use("Agg")
from helpers import figures
from helpers.figures import kit

STEPS = [{" the": 0.1, " is": 0.6}, {" blue": 0.5, " not": 0.3}, {".": 0.9}]


def rows(ax, role):
    """Return how many boxes of tokens a role has in each row, from above; the key's is left out."""
    color = kit.ROLES[role].fill.lower()
    heights = [
        round(patch.get_y(), 2)
        for patch in ax.patches
        if to_hex(patch.get_facecolor()) == color and patch.get_y() > 0.3
    ]
    return [heights.count(y) for y in sorted(set(heights), reverse=True)]


def test_the_prompt_goes_through_the_model_once_and_then_the_newest_token_alone():
    ax = figures.generation_loop(["The", " sky"], STEPS)
    assert rows(ax, "data") == [2, 1, 1]
    assert rows(ax, "memory") == [2, 3, 4], "the cache holds all that went through"


def test_the_most_probable_token_is_appended():
    ax = figures.generation_loop(["The", " sky"], STEPS)
    texts = [text.get_text() for text in ax.texts]
    counts = {word: texts.count(word) for word in ("The", "is", "the", "blue", "not")}
    assert counts == {"The": 3, "is": 3, "the": 1, "blue": 2, "not": 1}
    bold = {text.get_text() for text in ax.texts if text.get_weight() == "bold"}
    assert {"is", "blue", "."} <= bold and "the" not in bold
    assert ax.get_label().endswith("each time: is, blue, .")


def test_steps_without_candidates_are_refused():
    for steps in ([], [{}]):
        with pytest.raises(ValueError, match="each step needs a candidate"):
            figures.generation_loop(["The"], steps)


def hands(ax):
    """Return the angle of each hand, in degrees from 0 to 360, in the order they were drawn."""
    arrows = [note for note in ax.texts if hasattr(note, "xyann")]
    return [
        math.degrees(math.atan2(a.xy[1] - a.xyann[1], a.xy[0] - a.xyann[0])) % 360 for a in arrows
    ]


def test_each_pair_turns_by_its_speed_times_the_position():
    found = hands(figures.rotary_positions(64, theta=10_000.0, pairs=(0, 8)))
    fast, slow = math.degrees(1.0), math.degrees(0.1)  # 10,000 ** (-16 / 64) is a tenth
    assert found[:5] == pytest.approx([fast * i for i in range(5)])
    assert found[5:10] == pytest.approx([slow * i for i in range(5)])


def test_the_angle_between_query_and_key_depends_on_their_distance_alone():
    ax = figures.rotary_positions(64, theta=10_000.0)
    *_, q0, k0, q1, k1, q100, k100 = hands(ax)
    assert k100 == pytest.approx(math.degrees(100) % 360)
    for q, k in ((q0, k0), (q1, k1), (q100, k100)):
        assert (q - k) % 360 == pytest.approx(math.degrees(2))
    wedges = [patch for patch in ax.patches if isinstance(patch, Wedge)]
    assert [w.theta2 - w.theta1 for w in wedges[-3:]] == pytest.approx([math.degrees(2)] * 3)
