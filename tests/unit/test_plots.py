"""Charts: the data behind the picture is read back and compared."""

import itertools
import math
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import pytest

matplotlib.use("Agg")
from helpers import plots
from helpers.style import STYLE


@pytest.fixture(autouse=True)
def styled():
    with plt.style.context(STYLE):
        yield
    plt.close("all")


def texts(ax):
    """Return what is written on the axes."""
    return [text.get_text() for text in ax.texts]


def names(ax):
    """Return what the rows are called."""
    return [tick.get_text() for tick in ax.get_yticklabels()]


WAYS = {"LoRA": (2.0, 4.0), "NF4": (3.0, 3.0), "half": (1.0, 2.0), "same": (2.0, 3.9)}
SETTINGS = {"rank": {"1": [4.0, 6.0], "16": [1.0, 3.0]}, "alpha": {"8": [8.0], "32": [1.0, 3.0]}}
CHARTS = {  # name: how it is drawn
    "loss_curve": lambda: plots.loss_curve([10, 20], [1.5, 0.5]),
    "lines": lambda: plots.lines(
        [1, 2, 4],
        {"eager": [1, 2, 4], "SDPA": [1, 1.5, 2], "flash": [1, 1.4, 1.9]},
        log="x",
        reference=("a T4", 3),
    ),
    "bars": lambda: plots.bars({"one": 2, "another": 1}),
    "dots": lambda: plots.dots(
        {"merged": 1e-5, "Q2_K": 0.05},
        intervals={"Q2_K": (0.01, 0.09)},
        log=True,
        reference=("the same", 1e-3),
    ),
    "spread": lambda: plots.spread({"q": [1, 2, 9], "k": [3]}, reference=("a bell", 0)),
    "panels": lambda: plots.panels(SETTINGS, baseline={"rank": "16", "alpha": "32"}, log=True)[0],
    "before_after": lambda: plots.before_after(
        {"all": 0}, {"all": 38}, totals={"all": 40}, intervals={"all": ((0, 0.1), (0.8, 1))}
    ),
    "footprint": lambda: plots.footprint({"a": {"linear": 4_000_000, "rest": 1_000_000}}),
    "matrices": lambda: plots.matrices({"head 0": [[1, 0]]}, rows=["a"], columns=["x", "y"])[0],
    "token_grid": lambda: plots.token_grid(
        [[1, 2, 0]] * 3, names=["padding", "context", "learned"]
    ),
    "memory_timeline": lambda: plots.memory_timeline(
        {"weights": [1, 1, 1, 1], "activations": [0, 1, 2, 0]},
        phases=[(0, "load"), (2, "forward\nstep 1")],
        limit=("a T4", 14.6),
    ),
    "trade_off": lambda: plots.trade_off(WAYS, baseline="LoRA", what="a step"),
    "histogram": lambda: plots.histogram([0, 0, 0, 1], normal=True),
    "normal_levels": lambda: plots.normal_levels([-0.5, 0.5], [-1, 0, 1]),
    "number_lines": lambda: plots.number_lines({"INT4": [-1, 0.5], "FP4": [2]}),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_fits_a_page_and_its_texts_do_not_overlap(name):
    ax = CHARTS[name]()
    ax.set_title("A title")
    figure = ax.figure
    figure.canvas.draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox.padded(2)
    assert figure.get_figwidth() <= 7.4
    written = [t for a in figure.axes for t in [*a.texts, *a.get_yticklabels(), a.title]]
    written += [t for a in figure.axes if a.get_legend() for t in a.get_legend().get_texts()]
    found = [(t, t.get_window_extent(renderer)) for t in written if t.get_text().strip()]
    for text, place in found:
        assert text.get_fontsize() >= 8.5, text
        assert page.x0 <= place.x0 and place.x1 <= page.x1, f"{text} leaves the page"
    for (one, a), (other, b) in itertools.combinations(found, 2):
        over = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(over) <= 1, f"{one.get_text()!r} and {other.get_text()!r} overlap"


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_told_in_words(name):
    told = CHARTS[name]().get_label()
    assert len(told) > 20
    assert "e-0" not in told, "numbers for people"


def test_charts_draw_where_they_are_told():
    _, axes = plt.subplots(1, 2)
    assert plots.loss_curve([1], [1], ax=axes[0]) is axes[0]
    assert plots.dots({"a": 1}, ax=axes[1]) is axes[1]
    assert plots.matrices({"a": [[1]], "b": [[2]]}, rows="a", columns="b", axes=axes) == (*axes,)


def test_loss_curve_draws_its_points():
    ax = plots.loss_curve([10, 20], [1.5, 0.5])
    assert ax.lines[0].get_xydata().tolist() == [[10, 1.5], [20, 0.5]]
    assert ax.get_ylabel() == "loss (nats a token)"
    assert texts(ax) == ["0.50"], "where it ends"
    assert "from 1.5 at 10 to 0.5 at 20" in ax.get_label()
    with pytest.raises(ValueError, match="1 steps for 2 losses"):
        plots.loss_curve([1], [1, 2])


def test_before_after_draws_shares_and_intervals():
    ax = plots.before_after(
        {"all": 0, "new": 1},
        {"all": 38, "new": 8},
        totals={"all": 40, "new": 10},
        intervals={"all": ((0, 0.09), (0.83, 0.99)), "new": ((0.02, 0.4), (0.5, 0.95))},
    )
    marked = [line.get_xdata()[0] for line in ax.lines if line.get_marker() in "oD"]
    assert marked == [0, 95, 10, 80]
    segments = [segment for lines in ax.collections for segment in lines.get_segments()]
    ends = [end for segment in segments for end in segment[:, 0]]
    assert ends == pytest.approx([0, 9, 83, 99, 2, 40, 50, 95])
    assert texts(ax) == ["0 → 38 of 40", "1 → 8 of 10"]
    with pytest.raises(ValueError, match="groups differ"):
        plots.before_after({"a": 1}, {"b": 1}, totals={"a": 1}, intervals={})


def test_footprint_stacks_megabytes():
    parts = {"a": {"linear": 4_000_000, "rest": 1_000_000}, "b": {"linear": 1_000_000, "rest": 0}}
    ax = plots.footprint(parts)
    bars = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert bars == [(0, 4), (0, 1), (4, 1), (1, 0)]
    assert texts(ax) == ["5 MB", "1 MB"]
    with pytest.raises(ValueError, match="must have the parts"):
        plots.footprint({"a": {"x": 1}, "b": {"y": 1}})
    with pytest.raises(ValueError, match="at least one model"):
        plots.footprint({})


def test_footprint_refuses_what_it_cannot_tell_apart():
    """A fifth part was left out, and the total with it."""
    with pytest.raises(ValueError, match="of one to four parts"):
        plots.footprint({"a": dict.fromkeys("vwxyz", 1)})


def test_lines_draws_lines_and_bands():
    ax = plots.lines([1, 2], {"a": [3, 4], "b": [5, 6]}, bands={"b": [1, 2]})
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 4], [5, 6]]
    assert len({line.get_linestyle() for line in ax.lines}) == 2, "told apart without color"
    corners = ax.collections[0].get_paths()[0].vertices.tolist()
    assert [1.0, 4.0] in corners and [2.0, 8.0] in corners
    assert ax.get_ylim()[0] == 0
    with pytest.raises(ValueError, match="'a' has 1 values for 2 places"):
        plots.lines([1, 2], {"a": [1]})
    with pytest.raises(ValueError, match=r"bands \['z'\] for lines \['a'\]"):
        plots.lines([1], {"a": [1]}, bands={"z": [1]})
    with pytest.raises(ValueError, match="log='z'"):
        plots.lines([1], {"a": [1]}, log="z")


def test_lines_are_named_where_they_end():
    ax = plots.lines([1, 2], {"low": [3, 1], "high": [5, 9]}, reference=("limit", 4))
    ends = {text.get_text(): text.xy for text in ax.texts}
    assert ends == {"low": (1, 1), "high": (1, 9), "limit": (0, 4)}
    ax = plots.lines([1, 2], {"seen": [0, 1], "outside": [0, 50]}, ylim=(0, 2))
    assert texts(ax) == ["seen"]


def test_names_of_lines_that_end_together_are_spread():
    ax = plots.lines([1, 2], {"a": [1, 5.0], "b": [9, 5.01], "c": [2, 5.02]})
    ax.figure.canvas.draw()
    middles = [text.get_window_extent().y0 for text in ax.texts]
    assert min(b - a for a, b in itertools.pairwise(middles)) > 11


def test_lines_on_a_logarithmic_axis_mark_their_places():
    ax = plots.lines([1, 2, 4, 8], {"a": [1, 10, 100, 1000]}, log="xy")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "4", "8"]


def test_number_lines_mark_their_values():
    ax = plots.number_lines({"x": [-1, 0.5], "y": [2]})
    marks = [[path.vertices[0][0] for path in rows.get_paths()] for rows in ax.collections]
    assert marks == [[-1, 0.5], [2]]
    assert names(ax) == ["x", "y"]
    with pytest.raises(ValueError, match="at least one value"):
        plots.number_lines({"x": []})


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


def test_bars_begin_at_zero_and_write_their_numbers():
    ax = plots.bars({"a": 2, "b": 1}, label_format="%.2f")
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 2), (0, 1)]
    assert (texts(ax), names(ax), ax.get_xlim()[0]) == (["2.00", "1.00"], ["a", "b"], 0)
    _, axes = plt.subplots(1, 2, sharey=True)
    for place in axes:
        plots.bars({"a": 1, "b": 2}, ax=place)
    assert axes[0].yaxis_inverted(), "the first is on top, however many axes share"


def test_bars_refuse_what_has_no_length():
    """Errors between 1e-5 and 1 were bars on a logarithmic axis, whose lengths mean nothing."""
    _, ax = plt.subplots()
    ax.set_xscale("log")
    with pytest.raises(ValueError, match="no length on a log axis: draw dots"):
        plots.bars({"a": 1}, ax=ax)
    with pytest.raises(ValueError, match="none below zero"):
        plots.bars({"a": -1})


def test_dots_have_intervals_and_a_line_to_compare_with():
    ax = plots.dots(
        {"a": 0.1, "b": 0.001}, intervals={"a": (0.05, 0.2)}, log=True, reference=("same", 0.01)
    )
    marked = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert marked == [[[0.1, 0]], [[0.001, 1]]]
    assert ax.collections[0].get_segments()[0].tolist() == [[0.05, 0], [0.2, 0]]
    assert [0.01, 0.01] in [list(line.get_xdata()) for line in ax.lines]
    assert (texts(ax), ax.get_xscale()) == (["0.1", "0.001", "same"], "log")
    assert "a: 0.1 (0.05 to 0.2); b: 0.001" in ax.get_label()
    assert texts(plots.dots({"a": 1}, notes={"a": "40 of 40"})) == ["40 of 40"]


def test_dots_refuse_what_they_cannot_show():
    with pytest.raises(ValueError, match="no place on a logarithmic axis"):
        plots.dots({"a": 0}, log=True)
    with pytest.raises(ValueError, match=r"1 is not within \(2, 3\)"):
        plots.dots({"a": 1}, intervals={"a": (2, 3)})
    with pytest.raises(ValueError, match=r"intervals \['b'\]"):
        plots.dots({"a": 1}, intervals={"b": (0, 1)})


def test_spread_marks_the_median_of_each_row():
    ax = plots.spread({"a": [1, 9, 2], "b": [3]})
    rows = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert rows == [[[1, 0], [9, 0], [2, 0]], [[3, 1]]]
    assert [strokes.get_segments()[0][0][0] for strokes in ax.collections] == [2, 3]
    assert (texts(ax), names(ax)) == (["2", "3"], ["a", "b"])
    assert texts(plots.spread({"a": [1, 9, 2], "b": [3]}, notes={"a": "best"})) == ["best", "3"]
    with pytest.raises(ValueError, match="at least one value in each"):
        plots.spread({"a": []})


def test_panels_show_each_run_its_mean_and_the_baseline():
    axes = plots.panels(SETTINGS, baseline={"rank": "16", "alpha": "32"})
    assert [ax.get_title("left") for ax in axes] == ["rank", "alpha"]
    assert [texts(ax) for ax in axes] == [["5", "2"], ["8", "2"]]
    for ax in axes:
        assert [2, 2] in [list(line.get_xdata()) for line in ax.lines], "the baseline's mean"
    sizes = {line.get_markersize(): list(line.get_xdata()) for line in axes[0].lines[1:3]}
    assert sizes == {4: [4, 6], 8: [5]}
    with pytest.raises(ValueError, match="give one of the choices"):
        plots.panels(SETTINGS, baseline={"rank": "2", "alpha": "32"})
    with pytest.raises(ValueError, match="the same ones as baseline"):
        plots.panels(SETTINGS, baseline={"rank": "1", "alpha": "32"})


def test_matrices_share_one_scale():
    tables = {"one": [[1, 0], [0.5, 0.5]], "two": [[0.2, 0.1], [0.1, math.nan]]}
    axes = plots.matrices(tables, rows=["a", "b"], columns=["x", "y"])
    assert axes[0].images[0].get_array().tolist() == [[1, 0], [0.5, 0.5]]
    assert {ax.images[0].get_clim() for ax in axes} == {(0, 1)}
    assert len(axes[0].figure.axes) == 3, "two tables and one bar of colors"
    assert names(axes[0]) == ["a", "b"]
    assert "column 1, x, for 2 of 2 rows" in axes[1].get_label()
    with pytest.raises(ValueError, match="'one': 1 rows for 2 names of rows"):
        plots.matrices({"one": [[1]]}, rows=["a", "b"], columns=["x"])


def test_token_grid_draws_each_position():
    kinds = ["padding", "context", "learned"]
    ax = plots.token_grid([[1, 2, 0], [1, 1, 2]], names=kinds, starts=[[0, 1], [0]])
    assert ax.collections[0].get_array().tolist() == [[1, 2, 0], [1, 1, 2]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == kinds
    strokes = [s.tolist() for lines in ax.collections[1:3] for s in lines.get_segments()]
    assert strokes == [[[1, 0], [1, 1]]], "none where the row itself begins"
    assert "padding 17%, context 50%, learned 33%; strokes part 3 sequences" in ax.get_label()
    with pytest.raises(ValueError, match="rows of one length"):
        plots.token_grid([[1], [1, 2]], names=["a", "b", "c"])
    with pytest.raises(ValueError, match="an index has no name: there are 2"):
        plots.token_grid([[2]], names=["a", "b"])
    with pytest.raises(ValueError, match="starts of 2 rows for 1 rows"):
        plots.token_grid([[0]], names=["a"], starts=[[0], [0]])


def test_memory_timeline_stacks_its_parts():
    parts = {"weights": [1, 1, 1], "adapters": [0, 0, 0], "activations": [0, 2, 0]}
    ax = plots.memory_timeline(parts, phases=[(0, "load"), (1, "forward")], limit=("a T4", 14))
    tops = [max(y for _, y in area.get_paths()[0].vertices) for area in ax.collections[:2]]
    assert tops == [1, 3]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["activations", "weights"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["load", "forward"]
    assert texts(ax) == ["peak 3.00 GiB", "a T4"]
    assert "load 1, forward 3. At the peak: weights 1, activations 2" in ax.get_label()
    with pytest.raises(ValueError, match="of one length"):
        plots.memory_timeline({"a": [1], "b": [1, 2]}, phases=[(0, "load")])
    with pytest.raises(ValueError, match="must begin at 0"):
        plots.memory_timeline({"a": [1]}, phases=[(1, "load")])


def test_memory_timeline_shows_a_peak_of_one_allocation():
    """Of a thousand moments a part is drawn; a needle between them was lost."""
    weights = [1] * 1000
    needle = [8 if i == 617 else 0 for i in range(1000)]
    parts = {"weights": weights, "logits": needle}
    ax = plots.memory_timeline(parts, phases=[(0, "forward"), (600, "backward")])
    corners = ax.collections[1].get_paths()[0].vertices.tolist()
    place = 1 + 17 / 400  # 17 of the second phase's 400 allocations
    assert [pytest.approx(place), 9.0] in corners
    dots = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert dots == [[[pytest.approx(place), 9.0]]]
    with pytest.raises(ValueError, match=r"parts of \[0\] moments"):
        plots.memory_timeline({"weights": []}, phases=[(0, "load")])


def test_trade_off_has_a_mark_for_each_change_in_multiples_of_the_baseline():
    ax = plots.trade_off(WAYS, baseline="LoRA")
    marks = [line for line in ax.lines if line.get_marker() in ("o", "D")]
    places = [tuple(line.get_xydata()[0]) for line in marks]
    assert places == [(1, 1), (1.5, 0.75), (0.5, 0.5), (1, 0.975)], "time, memory"
    assert [line.get_marker() for line in marks] == list("Dooo"), "the baseline looks different"
    assert set(WAYS) <= set(texts(ax))
    assert "NF4: time 1.5, memory 0.75" in ax.get_label()
    with pytest.raises(ValueError, match="baseline 'QLoRA': name one"):
        plots.trade_off(WAYS, baseline="QLoRA")


def test_names_of_marks_that_lie_close_are_apart():
    close = {f"way {i}": (1 + 0.02 * i, 1 - 0.02 * i) for i in range(5)}
    ax = plots.trade_off(close, baseline="way 0")
    ax.figure.canvas.draw()
    places = [text.get_window_extent() for text in ax.texts if text.get_text() in close]
    assert len(places) == 5
    assert not any(a.overlaps(b) for a, b in itertools.combinations(places, 2))


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
