"""Plots and figures: the data behind the picture is read back and compared."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgba

matplotlib.use("Agg")
from helpers import figures, plots
from helpers.figures import chapter_0, chapter_1


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_loss_curve_draws_its_points():
    ax = plots.loss_curve([10, 20], [1.5, 0.5])
    assert ax.lines[0].get_xydata().tolist() == [[10, 1.5], [20, 0.5]]
    assert ax.get_ylabel() == "loss (nats a token)"
    with pytest.raises(ValueError, match="1 steps for 2 losses"):
        plots.loss_curve([1], [1, 2])


def test_before_after_draws_percentages():
    ax = plots.before_after({"all": 0.0, "new": 0.1}, {"all": 0.95, "new": 0.8})
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([0, 10, 95, 80])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["all", "new"]
    with pytest.raises(ValueError, match="groups differ"):
        plots.before_after({"a": 1}, {"b": 1})


def test_footprint_stacks_megabytes():
    parts = {"a": {"linear": 4_000_000, "rest": 1_000_000}, "b": {"linear": 1_000_000, "rest": 0}}
    ax = plots.footprint(parts)
    bars = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert bars == [(0, 4), (0, 1), (4, 1), (1, 0)]
    assert [text.get_text() for text in ax.texts] == [" 5 MB", " 1 MB"]
    with pytest.raises(ValueError, match="must have the parts"):
        plots.footprint({"a": {"x": 1}, "b": {"y": 1}})
    with pytest.raises(ValueError, match="at least one model"):
        plots.footprint({})


def test_footprint_refuses_what_it_cannot_tell_apart():
    """A fifth part was left out, and the total with it."""
    with pytest.raises(ValueError, match="of one to four parts"):
        plots.footprint({"a": dict.fromkeys("vwxyz", 1)})


def test_plots_draw_where_they_are_told():
    _, axes = plt.subplots(1, 2)
    assert plots.loss_curve([1], [1], ax=axes[0]) is axes[0]
    for draw in (figures.journey, figures.decision, figures.adapter_places, figures.tunnel):
        assert draw(ax=axes[1]) is axes[1]
    assert figures.dtype_path(axes=axes) == tuple(axes)


def test_charts_and_drawings_need_no_other_module_of_ours():
    code = "import sys, helpers.plots, helpers.figures; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = [
        name.split(".") for name in run.stdout.split() if name.startswith(("helpers", "onegpu"))
    ]
    assert {tuple(parts[:2]) for parts in ours} == {
        ("helpers",),
        ("helpers", "style"),
        ("helpers", "figures"),
        ("helpers", "plots"),
    }


def test_the_journey_names_every_station_once():
    words = [text.get_text() for text in figures.journey().texts]
    for title, _, chapter in chapter_0.STATIONS:
        assert words.count(title) == 1
        assert f"chapter {chapter}" in words


def test_lines_draws_lines_and_bands():
    ax = plots.lines([1, 2], {"a": [3, 4], "b": [5, 6]}, bands={"b": [1, 2]})
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 4], [5, 6]]
    assert len({line.get_linestyle() for line in ax.lines}) == 2, "told apart without color"
    corners = ax.collections[0].get_paths()[0].vertices.tolist()
    assert [1.0, 4.0] in corners and [2.0, 8.0] in corners
    with pytest.raises(ValueError, match="'a' has 1 values for 2 places"):
        plots.lines([1, 2], {"a": [1]})
    with pytest.raises(ValueError, match=r"bands \['z'\] for lines \['a'\]"):
        plots.lines([1], {"a": [1]}, bands={"z": [1]})


def test_number_lines_mark_their_values():
    ax = plots.number_lines({"x": [-1, 0.5], "y": [2]})
    marks = [[path.vertices[0][0] for path in rows.get_paths()] for rows in ax.collections]
    assert marks == [[-1, 0.5], [2]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["x", "y"]
    with pytest.raises(ValueError, match="at least one value"):
        plots.number_lines({"x": []})


def test_number_lines_take_the_colors_in_turn():
    ax = plots.number_lines({f"row {i}": [i] for i in range(9)})
    drawn = [rows.get_color()[0].tolist() for rows in ax.collections]
    expected = [list(to_rgba(color)) for color in plots.COLORS.values()]
    assert drawn == expected + expected[:2]


def test_bit_fields_draw_a_box_a_bit():
    ax = figures.bit_fields({"fp16": (1, 5, 10), "e8m0": (0, 8, 0)})
    assert len(ax.patches) == 16 + 8
    assert [text.get_text() for text in ax.texts] == ["1", "5", "10", "8"]
    assert sorted(box.get_x() for box in ax.patches[:16]) == list(range(16))


def test_histogram_counts_and_marks():
    ax = plots.histogram([0, 0, 0, 1], n_bins=2, marks=[0.5], normal=True)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([1.5, 0.5]), "density: 3/4 and 1/4 over bins of 1/2"
    curve, mark = ax.lines
    assert list(mark.get_xdata()) == [0.5, 0.5]
    top = 1 / ((3 / 16) ** 0.5 * (2 * 3.14159265) ** 0.5)  # variance 3/16
    assert max(curve.get_ydata()) == pytest.approx(top, rel=1e-3)
    with pytest.raises(ValueError, match="no values to draw"):
        plots.histogram([])


def test_normal_levels_draw_a_slice_a_level():
    ax = plots.normal_levels([-0.5, 0.5], [-1, 0, 1])
    *slices, strokes = ax.collections
    spans = [s.get_paths()[0].get_extents().intervalx.tolist() for s in slices]
    assert spans == [[-3, -0.5], [-0.5, 0.5], [0.5, 3]]
    assert [path.vertices[0][0] for path in strokes.get_paths()] == [-1, 0, 1]
    with pytest.raises(ValueError, match="3 edges for 3 levels"):
        plots.normal_levels([0, 1, 2], [0, 1, 2])


def test_bars_write_their_numbers():
    ax = plots.bars({"a": 2, "b": -1}, errors={"a": 0.5, "b": 0.1}, label_format="%.2f")
    assert [bar.get_width() for bar in ax.patches] == [2, -1]
    assert [(t.get_text(), t.xy) for t in ax.texts] == [("2.00", (2.5, 0)), ("-1.00", (0, 1))]
    _, axes = plt.subplots(1, 2, sharey=True)
    for place in axes:
        plots.bars({"a": 1, "b": 2}, ax=place)
    assert axes[0].yaxis_inverted(), "the first is on top, however many axes share"
    with pytest.raises(ValueError, match=r"values for \['a'\], errors for \['b'\]"):
        plots.bars({"a": 1}, errors={"b": 1})


def test_the_dtype_path_names_what_is_stored():
    regular, quantized = figures.dtype_path()
    assert "weight\nbf16" in [text.get_text() for text in regular.texts]
    texts = [text.get_text() for text in quantized.texts]
    assert "packed codes\nuint8" in texts
    assert "unpacked weight\ncompute dtype" in texts


def test_dots_stand_in_columns():
    ax = plots.dots({"a": [1, 2], "b": [3]})
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[0, 1], [0, 2]], [[1, 3]]]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b"]
    with pytest.raises(ValueError, match="at least one value in each"):
        plots.dots({"a": []})


def test_matrix_draws_its_values():
    ax = plots.matrix([[1, 0], [0.5, 0.5]], rows=["a", "b"], columns=["x", "y"])
    assert ax.images[0].get_array().tolist() == [[1, 0], [0.5, 0.5]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
    with pytest.raises(ValueError, match="1 rows for 2 names of rows"):
        plots.matrix([[1]], rows=["a", "b"], columns=["x"])


def test_the_decision_names_every_way_once():
    words = [text.get_text() for text in figures.decision().texts]
    for question, way, _ in chapter_1.QUESTIONS:
        assert words.count(question) == words.count(way) == 1


def test_token_grid_draws_each_position():
    ax = plots.token_grid([[1, 2, 0], [1, 1, 2]], names=["padding", "context", "learned"])
    drawn = ax.collections[0].get_array()
    assert drawn.tolist() == [[1, 2, 0], [1, 1, 2]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "padding",
        "context",
        "learned",
    ]
    with pytest.raises(ValueError, match="rows of one length"):
        plots.token_grid([[1], [1, 2]], names=["a", "b", "c"])
    with pytest.raises(ValueError, match="an index has no name: there are 2"):
        plots.token_grid([[2]], names=["a", "b"])


def test_memory_timeline_stacks_its_parts():
    parts = {"weights": [1, 1, 1], "activations": [0, 2, 0]}
    ax = plots.memory_timeline(parts, phases=[(1, "forward")])
    tops = [max(y for _, y in area.get_paths()[0].vertices) for area in ax.collections]
    assert tops == [1, 3]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["activations", "weights"]
    assert [text.get_text() for text in ax.texts] == ["forward"]
    ax = plots.memory_timeline({"adapters": [0, 0], "weights": [1, 1]})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["weights"]
    with pytest.raises(ValueError, match="of one length"):
        plots.memory_timeline({"a": [1], "b": [1, 2]})


def test_memory_timeline_shows_a_peak_of_one_allocation():
    """Of a thousand moments a quarter is drawn; a needle between them was lost."""
    weights = [1] * 1000
    needle = [8 if i == 617 else 0 for i in range(1000)]
    ax = plots.memory_timeline({"weights": weights, "logits": needle})
    corners = ax.collections[1].get_paths()[0].vertices.tolist()
    assert [617.0, 9.0] in corners
    with pytest.raises(ValueError, match=r"parts of \[0\] moments"):
        plots.memory_timeline({"weights": []})


def test_trade_off_marks_before_and_after():
    before, after = plots.trade_off((1, 5), (2, 3)).lines
    assert (before.get_xydata().tolist(), before.get_marker()) == ([[1, 5]], "o")
    assert (after.get_xydata().tolist(), after.get_marker()) == ([[2, 3]], "s")
