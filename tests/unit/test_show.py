"""What inspectors and plots show: the data behind the picture is read back and compared."""

import matplotlib
import pytest

matplotlib.use("Agg")
from helpers import figures, plots
from onegpu import chat, evaluation


def test_exact_match_by_hand():
    assert evaluation.exact_matches([" a", "b", "c."], ["a ", "b", "c"]) == [True, True, False]
    with pytest.raises(ValueError, match="1 answers for 2 references"):
        evaluation.exact_matches(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="at least one"):
        evaluation.exact_matches([], [])


def test_chrf_by_hand():
    """'ab' against 'ac': 1 of 2 unigrams and 0 of 1 bigrams match, in precision and recall."""
    expected = 100 * (1 / 2 + 0 / 1) / 2
    assert evaluation.score(["ab"], ["ac"]).chrf == pytest.approx(expected, abs=0.01)
    assert evaluation.score(["ab"], ["ab"]).exact_match == 1


def test_compare_counts_each_group():
    table = evaluation.compare(
        ["x", "x", "c"],
        ["a", "x", "c"],
        references=["a", "b", "c"],
        groups={"first two": [True, True, False]},
    )
    assert table["sentences"].to_dict() == {"all": 3, "first two": 2}
    assert table["exact before"].to_dict() == {"all": 1, "first two": 0}
    assert table["exact after"].to_dict() == {"all": 2, "first two": 1}
    assert table.loc["all", "chrF after"] > table.loc["all", "chrF before"]
    with pytest.raises(ValueError, match="group 'none' marks 0 of 3"):
        evaluation.compare("abc", "abc", references="abc", groups={"none": [False] * 3})


def test_token_view_marks_the_learned_tokens(tokenizer):
    ids = tokenizer("Strong, <b>you</b> are.\n")["input_ids"]
    labels = [-100] * 2 + ids[2:]
    view = chat.show(tokenizer, {"input_ids": ids, "labels": labels})
    assert "".join(token.text for token in view.tokens) == "Strong, <b>you</b> are.\n"
    assert [token.learned for token in view.tokens[:3]] == [False, False, True]
    assert view.n_learned == len(ids) - 2
    assert repr(view).startswith("Strong,[")
    page = view._repr_html_()
    assert page.count("#ffd58a") == view.n_learned
    assert "<b>" not in page, "text is escaped"


def test_token_view_refuses_what_has_no_labels(tokenizer):
    with pytest.raises(ValueError, match=r"has input_ids and no labels"):
        chat.show(tokenizer, {"input_ids": [1]})
    with pytest.raises(ValueError, match="2 input_ids but 1 labels"):
        chat.show(tokenizer, {"input_ids": [1, 2], "labels": [1]})


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


def test_plots_draw_where_they_are_told():
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 2)
    assert plots.loss_curve([1], [1], ax=axes[0]) is axes[0]
    assert figures.journey(ax=axes[1]) is axes[1]


def test_the_journey_names_every_station_once():
    words = [text.get_text() for text in figures.journey().texts]
    for title, _, chapter in figures.STATIONS:
        assert words.count(title) == 1
        assert f"chapter {chapter}" in words


def test_lines_draws_lines_and_bands():
    ax = plots.lines([1, 2], {"a": [3, 4], "b": [5, 6]}, bands={"b": [1, 2]})
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 4], [5, 6]]
    assert len({line.get_linestyle() for line in ax.lines}) == 2, "told apart without colour"
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
    import matplotlib.pyplot as plt

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
    for question, way, _ in figures.QUESTIONS:
        assert words.count(question) == words.count(way) == 1


def test_a_row_of_ones_own_data_is_shown(tokenizer):
    pair = {
        "prompt": [{"role": "user", "content": "Hi."}],
        "completion": [{"role": "assistant", "content": "Yo."}],
    }
    view = chat.show(tokenizer, pair)
    assert "".join(t.text for t in view.tokens if t.learned) == "Yo.<|im_end|>\n"
    with pytest.raises(ValueError, match="columns question: expected messages, prompt and comp"):
        chat.show(tokenizer, {"question": "Hi."})


def test_a_template_is_taken_apart(tokenizer):
    import copy

    mine = copy.deepcopy(tokenizer)
    mine.chat_template = (
        "START{% for m in messages %}<{{ m.role }}>{{ m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}!{% endif %}{% endfor %}"
    )
    parts = chat.template(mine)
    assert (parts.start, parts.answer) == ("START<user>", "<assistant>")
    assert (parts.next_question, parts.end) == ("<|im_end|>!<user>", "<|im_end|>!")
    assert parts.end_of_turn_id == tokenizer.eos_token_id
    mine.chat_template = mine.chat_template.replace("{{ eos_token }}", "")
    assert chat.template(mine).end_of_turn_id is None
    mine.chat_template = None
    assert chat.template(mine) is None


def test_a_batch_shows_its_padding(tokenizer):
    """Two rows of 3 and 5 tokens, padded: 8 of 10 positions in use; packed: all."""
    from types import SimpleNamespace

    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = [
        {"input_ids": list(range(20, 20 + n)), "labels": [-100, *range(21, 20 + n)]} for n in (3, 5)
    ]
    for is_packed, in_use in ((False, 0.8), (True, 1.0)):
        collator = DataCollatorForLanguageModeling(pad_token_id=2, padding_free=is_packed)
        view = chat.show_batch(
            SimpleNamespace(
                train_dataset=rows,
                data_collator=collator,
                processing_class=tokenizer,
                args=SimpleNamespace(per_device_train_batch_size=2),
            )
        )
        assert [len(v.tokens) for v in view.sequences] == [3, 5]
        assert [v.n_learned for v in view.sequences] == [2, 4]
        assert view.efficiency == pytest.approx(in_use)
        assert f"{in_use:.0%} of the positions in use" in repr(view)
        assert ("2 of padding" in view._repr_html_()) is not is_packed


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
