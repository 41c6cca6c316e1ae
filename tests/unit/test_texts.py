"""The course's own texts: how many there are, that none comes twice, and that they're balanced."""

import collections
import itertools
import re

import pytest

from helpers import texts


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def test_there_are_120_questions_and_none_comes_twice():
    found = texts.questions()
    assert len(found) == 120
    assert len({question.lower() for question in found}) == 120
    assert all(question == question.strip() and question[-1] in "?." for question in found)
    closest = max(itertools.combinations(found, 2), key=lambda pair: alike(*pair))
    assert alike(*closest) < 0.7, closest


def alike(first: str, second: str) -> float:
    return len(words(first) & words(second)) / len(words(first) | words(second))


def test_the_questions_have_nothing_of_what_the_other_sets_ask():
    """Answers to them show what a model forgot, so they keep away from what it was trained on."""
    prompts, answers = texts.capitals()
    asked = {prompt[0]["content"] for prompt in prompts}
    assert not asked & set(texts.questions())
    names = {answer.split(" of ")[1].split(" is ")[0].lower() for answer in answers}
    for question in texts.questions():
        assert not re.search(r"countr|capital|yoda|translat", question, re.IGNORECASE)
        assert not any(re.search(rf"\b{name}\b", question.lower()) for name in names)


@pytest.mark.parametrize("kind", ["arc-like", "hellaswag-like"])
def test_a_quiz_can_not_be_guessed(kind):
    """Neither the place of the right choice nor its length gives it away."""
    rows = texts.quiz(kind)
    assert len({row["question"] for row in rows}) == len(rows) == 30
    for row in rows:
        assert row.keys() == {"kind", "question", "choices", "gold"}
        assert len(set(row["choices"])) == 4
    places = collections.Counter(row["gold"] for row in rows)
    assert sorted(places.values()) == [7, 7, 8, 8]
    assert set(places) == set(range(4))
    for extreme in (min, max):
        n_right = sum(
            row["choices"].index(extreme(row["choices"], key=len)) == row["gold"] for row in rows
        )
        assert n_right <= 12, f"{extreme.__name__} of the lengths is right {n_right} times"


def test_endings_are_of_similar_length():
    for row in texts.quiz("hellaswag-like"):
        lengths = sorted(map(len, row["choices"]))
        assert lengths[-1] <= 1.7 * lengths[0], row["question"]


def test_a_quiz_that_does_not_exist():
    with pytest.raises(ValueError, match=r"kind 'arc': choose 'arc-like' or 'hellaswag-like'"):
        texts.quiz("arc")


def test_each_text_has_three_true_summaries_and_a_false_one_in_the_same_words():
    rows = texts.summaries()
    assert len({row["text"] for row in rows}) == len(rows) == 16
    for row in rows:
        assert row.keys() == {"text", "references", "wrong"}
        assert 60 <= len(row["text"].split()) <= 110
        sentences = [*row["references"], row["wrong"]]
        assert len(set(sentences)) == 4
        for sentence in sentences:
            assert not re.search(r"[.!?] [A-Z]", re.sub(r"\b[ap]\.m\.", "", sentence)), sentence
        assert row["wrong"] not in row["text"]
        assert len(words(row["wrong"]) & words(row["references"][0])) > 0.75 * len(
            words(row["wrong"])
        )
