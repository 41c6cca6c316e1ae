"""The drawings of decisions: each question leads to its answer, and what they name exists."""

import copy
import re

import matplotlib
import pytest
from matplotlib.colors import to_hex

matplotlib.use("Agg")
from helpers import figures
from helpers.figures.decisions import FORMATS, WAYS
from helpers.figures.kit import ROLES
from onegpu import chat, rows


def heights_of(ax, text):
    return [each.get_position()[1] for each in ax.texts if each.get_text() == text]


def height_of(ax, text):
    (height,) = heights_of(ax, text)
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
    asked = [height_of(ax, question.text) for question in questions[:-1]]
    heights = [*asked, height_of(ax, questions[-1].answer)]
    assert heights == sorted(heights, reverse=True)
    for question, height in zip(questions, heights, strict=True):
        assert height in heights_of(ax, question.answer)
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


USER, ANSWER = {"role": "user", "content": "user"}, {"role": "assistant", "content": "answer"}
CALL = {"function": {"name": "look_up", "arguments": '{"word": "swamp"}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
DESCRIBED = [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]
SCORED = {"prompt": "user", "answers": ["worse", "better"], "scores": [0, 1]}
SHAREGPT = [{"from": "human", "value": "user"}, {"from": "gpt", "value": "answer"}] * 2
GIVEN = (  # for each rung, what its converters are given
    [{"document": "text"}],
    [
        SCORED,
        {
            "input": {"messages": [USER]},
            "preferred_output": [ANSWER],
            "non_preferred_output": [{**ANSWER, "content": "worse"}],
        },
    ],
    [
        {
            "messages": [USER, CALLING, {"role": "tool", "content": "wet"}, ANSWER],
            "tools": DESCRIBED,
        },
        {
            "conversations": [
                {"from": "human", "value": "user"},
                {"from": "function_call", "value": '{"name": "look_up", "arguments": {}}'},
                {"from": "observation", "value": "wet"},
                {"from": "gpt", "value": "answer"},
            ],
            "tools": DESCRIBED,
        },
    ],
    [{"question": "user", "answer": "answer"}, {"instruction": "user", "output": "answer"}],
    [{"conversations": SHAREGPT}, {"messages": [USER, ANSWER] * 2}],
    [{"messages": [USER, ANSWER] * 2}],
)


@pytest.fixture
def marked(tokenizer):
    """Return a tokenizer whose template writes calls of tools and marks answers."""
    found = copy.deepcopy(tokenizer)
    found.chat_template = (
        "{% for m in messages %}{% if m.role != 'assistant' %}{{ m.content + eos_token }}{% else %}"
        "{% generation %}{{ m.content }}{{ m.tool_calls or '' }}{{ eos_token }}{% endgeneration %}"
        "{% endif %}{% endfor %}"
    )
    return found


def test_each_converter_writes_the_columns_that_are_drawn_and_trl_learns_what_is_orange(marked):
    """The library's labels of each row say which parts of its strip are orange."""
    for question, given in zip(FORMATS[:-1], GIVEN, strict=True):
        names = question.converters.split(", ")
        for name, row in zip(names, given, strict=True):
            converted = getattr(rows, name)(row)
            assert list(converted) == question.answer.split("\n"), name
            if "chosen" in converted:
                continue  # another trainer's, which has no labels
            only = question.note == "assistant_only_loss=True"
            labels = chat.encode(marked, converted, assistant_only=only)["labels"]
            learned = [label != -100 for label in labels]
            runs = [now for i, now in enumerate(learned) if i == 0 or now != learned[i - 1]]
            drawn = [role == "trained" for _, role in question.parts]
            assert runs == [now for i, now in enumerate(drawn) if i == 0 or now != drawn[i - 1]]


def test_the_flowchart_names_every_converter():
    ax = figures.choose_format()
    words = " ".join(text.get_text() for text in ax.texts)
    assert set(re.findall(r"\bfrom_\w+", words)) == {n for n in rows.__all__ if "from_" in n}


def test_a_strip_has_the_color_of_each_part():
    ax = figures.choose_format()
    heights = [height_of(ax, q.text) for q in FORMATS[:-1]] + [height_of(ax, FORMATS[-1].answer)]
    for question, height in zip(FORMATS, heights, strict=True):
        words = {text for text, _ in question.parts}
        found = []
        for text in ax.texts:
            x, y = text.get_position()
            if text.get_text() in words and x > 4.2 and abs(y - height) < 0.4:
                (role,) = [
                    role
                    for role in ("plain", "trained", "wrong")
                    if any(shape.contains(x, y) for shape in filled(ax, role))
                ]
                found.append((x, text.get_text(), role))
        assert [tuple(part) for _, *part in sorted(found)] == list(question.parts)
