"""ROUGE against rouge-score 0.1.2, and what it can't see."""

import pytest

from helpers import texts
from onegpu import evaluation

# An answer, its references, and ROUGE-1, ROUGE-2 and ROUGE-L of rouge-score 0.1.2:
# `RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False).score_multi(references, answer)`.
PAIRS = {
    "equal": ("The cat sat on the mat.", ["The cat sat on the mat."], [1.0, 1.0, 1.0]),
    "nothing shared": ("A dog barked.", ["The cat sat on the mat."], [0.0, 0.0, 0.0]),
    "empty answer": ("", ["The cat sat."], [0.0, 0.0, 0.0]),
    "empty reference": ("The cat sat.", [""], [0.0, 0.0, 0.0]),
    "both empty": ("", [""], [0.0, 0.0, 0.0]),
    "only punctuation": ("?! ...", ["The cat sat."], [0.0, 0.0, 0.0]),
    "case and punctuation": (
        "THE CAT, sat -- on the mat!",
        ["the cat sat on the mat"],
        [1.0, 1.0, 1.0],
    ),
    "other order": ("sat cat the mat on the", ["the cat sat on the mat"], [1.0, 0.4, 0.5]),
    "swapped names": ("Lena lent Omar the drill.", ["Omar lent Lena the drill."], [1.0, 0.25, 0.6]),
    "lost negation": (
        "The bridge will open on Friday.",
        ["The bridge will not open on Friday."],
        [0.923077, 0.727273, 0.923077],
    ),
    "repeated in the answer": ("the the the the", ["the cat sat on the mat"], [0.4, 0.0, 0.4]),
    "repeated in both": ("no no no yes", ["no yes no yes no"], [0.888889, 0.285714, 0.666667]),
    "repeated pair": (
        "knock knock knock knock",
        ["knock knock who is there knock knock"],
        [0.727273, 0.444444, 0.727273],
    ),
    "contractions": (
        "Don't stop, it's fine",
        ["do not stop it is fine, don't"],
        [0.714286, 0.333333, 0.428571],
    ),
    "curly apostrophe": ("Don\u2019t stop", ["Don't stop"], [1.0, 1.0, 1.0]),
    "hyphens and underscores": (
        "a well-known snake_case name",
        ["a well known snake case name"],
        [1.0, 1.0, 1.0],
    ),
    "numbers": (
        "It cost 1,250.50 dollars in 2019",
        ["in 2019 it cost 1250.50 dollars"],
        [0.8, 0.461538, 0.533333],
    ),
    "line breaks and tabs": (
        "first line\nsecond\tline",
        ["First line. Second line."],
        [1.0, 1.0, 1.0],
    ),
    "an emoji between": ("good \ud83d\ude00 morning", ["good morning"], [1.0, 1.0, 1.0]),
    "several references": (
        "rain stopped the game early",
        ["snow fell all night", "the game ended early because of rain", "rain stopped play"],
        [0.666667, 0.333333, 0.5],
    ),
    "one word": ("yes", ["Yes, of course"], [0.5, 0.0, 0.5]),
    "long and short": ("the " * 30 + "end", ["the end"], [0.121212, 0.064516, 0.121212]),
}

# Letters outside a to z, which rouge-score drops. Expected: its scores with a tokenizer that keeps
# them, `regex.findall(r"[\p{L}\p{N}]+", unicodedata.normalize("NFC", text).lower())`.
OTHER_LETTERS = {
    "accents": (
        "Das Café in Zürich hat geöffnet",
        ["Das Cafe in Zurich ist geöffnet"],
        [0.5, 0.0, 0.5],
    ),
    "accents shared": ("naïve rôle", ["naïve role"], [0.5, 0.0, 0.5]),
    "cyrillic": ("кошка спит", ["кошка ест"], [0.5, 0.0, 0.5]),
    "composed otherwise": ("caf\u00e9", ["cafe\u0301"], [1.0, 0.0, 1.0]),
}


def scores(answer, references) -> list[float]:
    one, two = (evaluation.rouge_n(answer, references, n=n) for n in (1, 2))
    return [one, two, evaluation.rouge_l(answer, references)]


@pytest.mark.parametrize("name", PAIRS)
def test_rouge_is_that_of_the_package(name):
    answer, references, expected = PAIRS[name]
    assert scores(answer, references) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", OTHER_LETTERS)
def test_letters_of_other_alphabets_count(name):
    answer, references, expected = OTHER_LETTERS[name]
    assert scores(answer, references) == pytest.approx(expected, abs=1e-6)


def test_rouge_by_hand():
    """Of 4 words and 6, "a c d" is the longest in common: 3 / 4 and 3 / 6. Two pairs of 3 and 5."""
    answer, reference = "a c d x", "a b c d y z"
    assert evaluation.rouge_l(answer, [reference]) == pytest.approx(2 / (4 / 3 + 6 / 3))
    assert evaluation.rouge_n(answer, [reference], n=2) == pytest.approx(2 / (3 / 1 + 5 / 1))


def test_a_single_text_is_no_list_of_references():
    """A text is a sequence of letters: each would be a reference, and all scores near 0."""
    with pytest.raises(ValueError, match=r"references is the text 'the cat'.*give a list"):
        evaluation.rouge_l("the cat", "the cat")
    with pytest.raises(ValueError, match="references is empty"):
        evaluation.rouge_n("the cat", [], n=1)
    with pytest.raises(ValueError, match="n is 0: .* at least 1"):
        evaluation.rouge_n("the cat", ["the cat"], n=0)


def test_a_false_summary_scores_above_every_true_one():
    """A false summary in the words of a reference beats each true one in words of its own."""
    for row in texts.summaries():
        references = row["references"]
        true = [
            evaluation.rouge_l(text, [other for other in references if other != text])
            for text in references
        ]
        assert evaluation.rouge_l(row["wrong"], references) > 0.7 > max(true) + 0.2


def test_rouge_can_not_tell_a_false_summary_from_the_true_one_it_was_made_of():
    """Scored against the same two references, which share little with either."""
    rows = texts.summaries()
    true, false = (
        sum(evaluation.rouge_l(text, row["references"][1:]) for row, text in pairs) / len(rows)
        for pairs in (
            [(row, row["references"][0]) for row in rows],
            [(row, row["wrong"]) for row in rows],
        )
    )
    assert abs(true - false) < 0.02
    assert 0.2 < true < 0.35
