"""The drawings of decisions: each question leads to its answer, and what they name exists."""

import copy
import re
from pathlib import Path

import matplotlib
import nbformat
import pytest
from matplotlib.colors import to_hex

matplotlib.use("Agg")
from helpers import figures
from helpers.figures.decisions import FORMATS, WAYS
from helpers.figures.kit import ROLES
from helpers.figures.symptoms import SYMPTOMS
from onegpu import chat

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "99_troubleshooting.ipynb"


def height_of(ax, text):
    (height,) = [each.get_position()[1] for each in ax.texts if each.get_text() == text]
    return height


def arrows_of(ax):
    return [(note.xyann, note.xy) for note in ax.texts if hasattr(note, "xyann")]


def filled(ax, role):
    """Return where the shapes of a role are."""
    return [
        patch.get_bbox()
        for patch in ax.patches
        if to_hex(patch.get_facecolor()).upper() == ROLES[role].fill
    ]


@pytest.mark.parametrize(
    ("draw", "questions"), [(figures.decision, WAYS), (figures.choose_format, FORMATS)]
)
def test_a_yes_leads_to_the_answer_beside_the_question(draw, questions):
    ax = draw()
    heights = [height_of(ax, question.answer) for question in questions]
    assert heights == sorted(heights, reverse=True)
    for question, height in zip(questions[:-1], heights, strict=False):
        assert height_of(ax, question.text) == height
    words = [text.get_text() for text in ax.texts]
    assert words.count("yes") == words.count("no") == len(questions) - 1
    assert {end[1] for (_, end) in arrows_of(ax) if end[0] > 2} == set(heights)


def test_only_fine_tuning_changes_weights():
    ax = figures.decision()
    heights = {height_of(ax, name): name for name in ("Prompting", "Retrieval", "Fine-tuning")}
    for role, names in (("frozen", {"Prompting", "Retrieval"}), ("trained", {"Fine-tuning"})):
        shapes = [shape for shape in filled(ax, role) if shape.height > 0.3]
        found = {n for y, n in heights.items() for shape in shapes if shape.y0 < y < shape.y1}
        assert found == names


def test_what_is_drawn_as_learned_is_what_trl_learns(tokenizer):
    """The library's labels of a row in each format say which parts of its strip are orange."""
    marked = copy.deepcopy(tokenizer)
    marked.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content + eos_token }}{% else %}"
        "{% generation %}{{ m.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
    )
    user, assistant = ({"role": role, "content": role} for role in ("user", "assistant"))
    pair, turns = {"prompt": [user], "completion": [assistant]}, [user, assistant] * 2
    encoded = {
        "text": chat.encode(marked, {"text": "document"}),
        "prompt\ncompletion": chat.encode(marked, pair),
        "messages": chat.encode(marked, {"messages": turns}, assistant_only=True),
    }
    for question in FORMATS[:-1]:
        labels = encoded[question.answer]["labels"]
        learned = [label != -100 for label in labels]
        runs = [now for i, now in enumerate(learned) if i == 0 or now != learned[i - 1]]
        assert runs == [learned for _, learned in question.learned], question.answer


def test_the_strips_are_orange_where_a_part_is_learned():
    ax = figures.choose_format()
    orange = filled(ax, "trained")
    for word, is_learned in (
        ("document", True),
        ("question", False),
        ("answer", True),
        ("-100", False),
    ):
        places = [text.get_position() for text in ax.texts if text.get_text() == word]
        assert places
        assert all(any(shape.contains(*at) for shape in orange) == is_learned for at in places)


def test_the_triage_sends_to_sections_that_exist_and_to_none_twice():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = set(re.findall(r"^### (\S+)$", text, re.MULTILINE))
    named = [
        name
        for branch in SYMPTOMS.values()
        for sections in branch.values()
        for name in re.split(r",\s+", sections)
        if name != "Chapter 5"
    ]
    assert set(named) <= headings
    assert len(named) == len(set(named))


def test_the_triage_tells_errors_from_what_raises_none():
    """The index of the page says of a failure that it raises no error."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (index,) = [cell.source for cell in cells if "Index by message" in cell.source]
    told = dict(re.findall(r"^\| (.+) \| \[\S+\]\(#(\S+)\) \|$", index, re.MULTILINE))
    silent = {section for seen, section in told.items() if "No error." in seen}
    assert {"pad-is-eos", "learning-rate"} <= silent
    for name in re.split(r",\s+", ", ".join(SYMPTOMS["yes"].values())):
        assert name not in silent - {"length-outlier"}, f"{name} raises no error"


def test_the_triage_writes_sections_beside_their_symptom():
    ax = figures.triage()
    last = 100.0
    for branch in SYMPTOMS.values():
        for symptom, sections in branch.items():
            assert height_of(ax, symptom) == height_of(ax, sections) < last
            last = height_of(ax, symptom)
            assert any(end[1] == start[1] == last and start[0] > 2 for start, end in arrows_of(ax))
