"""Drawings of rows, labels, masks and packed rows say what the data says."""

import numpy as np
import pytest
from drawn import words
from matplotlib.colors import to_hex

from helpers import figures
from helpers.figures import kit

PIECES = ["<s>", "Q", "\n", "An", " answer", ".", "<end>", "\n"]
LABELS = [-100, -100, -100, 11, 12, 13, 2, 14]
MASKS = [4, 2, 3]


def fills(ax):
    """Return the role of each shape, by its color."""
    names = {role.fill: name for name, role in kit.ROLES.items()}
    return [names[to_hex(patch.get_facecolor()).upper()] for patch in ax.patches]


def encoded(*rows):
    """Return rows of that many context and learned tokens."""
    return [
        {"input_ids": list(range(100, 100 + context + learned)), "labels": labels}
        for context, learned in rows
        for labels in [[-100] * context + list(range(100 + context, 100 + context + learned))]
    ]


def test_a_row_keeps_its_tokens_and_labels_and_is_padded_to_the_longest():
    row = {"prompt": [{"role": "user", "content": "Q"}], "completion": "An answer."}
    rows = encoded((3, 5), (6, 6), (2, 3))
    ax = figures.row_to_batch(row, text="<s>Q\nAn answer.", pieces=PIECES, encoded=rows)
    found = words(ax)
    assert {"prompt      user: Q", "completion  An answer.", "An", "·answer", "<end>"} <= {*found}
    squares = np.array(fills(ax)[-36 - 3 : -3]).reshape(3, 12)  # three of the key come last
    expected = [list("dddtttttpppp"), list("ddddddtttttt"), list("ddtttppppppp")]
    assert [[role[0] for role in line] for line in squares] == expected
    assert found.count("103") == 2 and found.count("101") == 1  # id and label; id and -100
    with pytest.raises(ValueError, match="7 pieces for 8 labels"):
        figures.row_to_batch(row, text="", pieces=PIECES[1:], encoded=rows)


def test_the_answer_is_marked_in_the_row_and_in_its_text():
    """A shared color says from the first strip on what will be learned."""
    row = {"prompt": [{"role": "user", "content": "Q"}], "completion": "An answer."}
    ax = figures.row_to_batch(
        row, text="<s>Q\nAn answer.<end>\n", pieces=PIECES, encoded=encoded((3, 5))
    )
    inks = {text.get_text(): text.get_color() for text in ax.texts}
    for line in ("completion  An answer.", "An answer.<end>↵"):
        assert inks[line] == kit.ROLES["trained"].ink
    for line in ("prompt      user: Q", "<s>Q↵"):
        assert inks[line] == kit.ROLES["data"].ink


def test_a_template_is_drawn_whole_and_only_question_and_answer_have_a_color():
    parts = {
        "A": ("<s>[", "]\n", "</s>"),
        "B": ("x" * 80 + "\n<user>", "<bot>", "\n<end>\n"),
        "C": ("<q>", "<e>\n<a>", "<e>\n"),
    }
    ax = figures.template_roles(parts, question="Hi.", answer="Hello.")
    lines = {}
    for text in ax.texts[:-3]:  # the key comes last
        (x, y), shown = text.get_position(), text.get_text()
        lines.setdefault(round(y, 3), []).append((x, shown, text.get_color()))
    found = [
        "".join(shown for _, shown, _ in sorted(line) if shown not in parts)
        for line in lines.values()
    ]
    assert found == [
        "<s>[Hi.]↵Hello.</s>",
        "x" * 80 + "↵",
        "<user>Hi.<bot>Hello.↵<end>↵",
        "<q>Hi.<e>↵",
        "<a>Hello.<e>↵",
    ]
    inks = {kit.ROLES[role].ink: role for role in ("plain", "data", "trained")}
    colored = [(shown, inks[ink]) for line in lines.values() for _, shown, ink in sorted(line)]
    assert {shown for shown, role in colored if role == "data"} == {"Hi."}
    answers = {shown for shown, role in colored if role == "trained"}
    assert answers == {"Hello.</s>", "Hello.↵<end>↵", "Hello.<e>↵"}
    for patch, role in zip(ax.patches[:-3], fills(ax), strict=False):
        (text,) = [
            text
            for text in ax.texts
            if inks.get(text.get_color()) == role
            and patch.get_y() < text.get_position()[1] < patch.get_y() + patch.get_height()
        ]
        assert text.get_position()[0] == pytest.approx(patch.get_x())


def test_a_template_without_three_parts_or_with_an_endless_line_is_refused():
    with pytest.raises(ValueError, match="A: 2 parts"):
        figures.template_roles({"A": ("<s>", "</s>")}, question="Hi.", answer="Hello.")
    with pytest.raises(ValueError, match="A: a line of 90 letters, 84 fit the page"):
        figures.template_roles({"A": ("x" * 81, "", "")}, question="Hi.", answer="Hello.")


def arrows(ax):
    """Return for each arrow from where to where it runs."""
    return [(note.xyann, note.xy) for note in ax.texts if hasattr(note, "xyann")]


def test_each_token_points_to_the_label_after_it():
    ax = figures.label_shift(PIECES, LABELS, end="<end>")
    above, below = ax.patches[: len(PIECES)], ax.patches[len(PIECES) :]
    centers = [patch.get_x() + patch.get_width() / 2 for patch in above]
    assert centers == pytest.approx([p.get_x() + p.get_width() / 2 for p in below])
    ends = [(start[0], end[0]) for start, end in arrows(ax)]
    assert np.array(ends) == pytest.approx(np.array([centers[:-1], centers[1:]]).T)
    assert fills(ax)[len(PIECES) :] == ["plain"] * 3 + ["trained"] * 5
    assert "it learns to stop" in words(ax) and "harmless" in words(ax)


def test_an_end_token_without_a_label_is_wrong():
    lost = [-100 if label == 2 else label for label in LABELS]
    ax = figures.label_shift(PIECES, lost, end="<end>")
    assert fills(ax)[len(PIECES) :] == ["plain"] * 3 + ["trained"] * 3 + ["wrong", "trained"]
    assert "it is not taught to stop ✗" in words(ax) and "it learns to stop" not in words(ax)
    with pytest.raises(ValueError, match="8 pieces for 7 labels"):
        figures.label_shift(PIECES, lost[1:], end="<end>")


def test_the_masks_are_causal_leaky_and_in_blocks():
    n = sum(MASKS)
    owner = np.repeat(np.arange(len(MASKS)), MASKS)
    causal, same = np.tril(np.ones((n, n), bool)), owner[:, None] == owner
    drawn = np.array(fills(figures.attention_masks(MASKS))).reshape(3, n, n)
    assert ((drawn == "data") == [causal, causal & same, causal & same]).all()
    assert ((drawn == "wrong") == [causal & False, causal & ~same, causal & False]).all()


def test_positions_begin_again_only_where_sequences_are_kept_apart():
    found = [word for word in words(figures.attention_masks([3, 2])) if word.isdigit()]
    assert "".join(found) == "01234" + "01234" + "01201"
    with pytest.raises(ValueError, match="give two or more"):
        figures.attention_masks([5])


@pytest.mark.parametrize(
    "lengths, room", [([42, 45, 53, 37, 35, 38, 41, 37], 128), ([50, 60, 40, 30], 100)]
)
def test_best_fit_packs_as_trl_does_and_counts_what_is_left(lengths, room):
    from datasets import Dataset
    from trl import pack_dataset

    ax = figures.padding_packing(lengths, max_length=room)
    data = Dataset.from_dict({"input_ids": [[0] * n for n in lengths]})
    rows = [row["seq_lengths"] for row in pack_dataset(data, room, strategy="bfd")]
    sequences = [patch for patch, role in zip(ax.patches, fills(ax), strict=True) if role == "data"]
    by_height = {}
    for patch in sequences[len(lengths) :]:
        by_height.setdefault(round(patch.get_y(), 3), []).append(patch.get_width())
    scale = sequences[0].get_width() / lengths[0]
    packed = [sorted(round(wide / scale) for wide in row) for row in by_height.values()]
    assert sorted(packed) == sorted(map(sorted, rows))
    used, padded, free = sum(lengths), max(lengths) * len(lengths), room * len(rows)
    assert f"{100 * (1 - used / padded):.0f} % of {padded} positions are padding" in words(ax)
    assert f"{100 * (1 - used / free):.0f} % of {free} positions are free" in words(ax)
    with pytest.raises(ValueError, match=f"{max(lengths)} tokens do not fit into max_length=49"):
        figures.padding_packing(lengths, max_length=49)
