"""Drawings of deployment and parity say what was recorded."""

import dataclasses
import math

import pytest
from drawn import words

from helpers import figures
from helpers.figures import engines
from helpers.style import alt_text
from onegpu.parity import Answer, verdict

ANSWER = Answer(
    prompt_text="<s>Q?",
    prompt_ids=(1, 2, 3),
    ids=(7, 8),
    text="Strong, you are.",
    end=0,
    likeliest=(
        {7: math.log(0.99), 5: math.log(0.01)},
        {8: math.log(0.5), 6: math.log(0.25)},
        {0: math.log(0.98)},
    ),
)

OF_40 = {"n_prompts": 40, "decode": "<{}>".format}


def test_the_path_has_its_forms_in_order_and_a_fault_beside_each_arrow():
    ax = figures.deployment_path()
    places = {text.get_text(): text.get_position()[1] for text in ax.texts if text.get_text()}
    path = ("adapter", "merged model", "GGUF, 16 bits", "GGUF, quantized", "server", "chat client")
    path = (*path, "parity, after every arrow: still the same model?")
    assert [*path] == sorted(path, key=places.__getitem__, reverse=True)
    fault = places["merged into 4 bits: the adapter is gone"]
    assert places["merged model"] < fault < places["adapter"]


def test_super_blocks_are_as_many_as_fit_and_the_rest_is_marked():
    ax = figures.super_blocks({"small": 576, "wide": 4096})
    widths = [round(patch.get_width(), 9) for patch in ax.patches]
    assert len(widths) == 2 + 1 + 16
    whole, rest = widths[0], widths[2]
    assert widths == [whole, whole, rest] + [whole] * 16 and rest == pytest.approx(whole / 4)
    assert "2 × 256, and 64 left over ✗" in words(ax) and "16 × 256 ✓" in words(ax)
    assert "small: 576 weights are 2 × 256, and 64 left over" in alt_text(ax.figure)


@pytest.mark.parametrize("rows", [{}, {"none": 0}])
def test_rows_without_weights_are_refused(rows):
    with pytest.raises(ValueError, match="rows must have weights"):
        figures.super_blocks(rows)


def test_parity_shows_equal_sides_and_their_least_sure_place():
    ax = figures.parity(ANSWER, ANSWER, mean_kl=2e-5, verdict="THE SAME MODEL", **OF_40)
    found = words(ax)
    assert {"mean KL", "of 40:", "2e-05"} <= set(found)
    assert found.count("“<8>” 50 %") == 2 and "99 %" not in " ".join(found)
    assert found.count("=") == 3 and "≠ ✗" not in found
    assert "prompt, tokens, answer, next token. Verdict: THE SAME MODEL" in alt_text(ax.figure)


@pytest.mark.parametrize(
    "change, equal",
    [
        ({"prompt_text": "Q?", "prompt_ids": (9, 3)}, "answer, next token"),
        ({"prompt_ids": (1, 2, 4)}, "prompt, answer, next token"),
        ({"ids": (7, 9), "text": "You are strong."}, "prompt, tokens, next token"),
    ],
)
def test_parity_marks_the_layers_that_differ(change, equal):
    other = dataclasses.replace(ANSWER, **change)
    ax = figures.parity(ANSWER, other, mean_kl=0.1, verdict="NOT THE SAME: a fault", **OF_40)
    assert words(ax).count("≠ ✗") == 3 - sum(
        name in equal for name in ("prompt", "tokens", "answer")
    )
    assert f"they agree in: {equal}. Verdict: NOT" in alt_text(ax.figure)


def test_without_a_place_to_compare_no_probabilities_are_drawn():
    ax = figures.parity(ANSWER, ANSWER, mean_kl=None, verdict="NOT THE SAME: a fault", **OF_40)
    assert "nothing to compare" in words(ax) and "50 %" not in " ".join(words(ax))


def test_the_drawing_calls_another_model_what_parity_calls_so():
    """Drawings import no tool, so the limit is there twice."""
    assert engines.OTHER_KL == verdict.ANOTHER_KL
