"""The grammar against hand-made sentences, and translated back by its text."""

import pytest

from helpers import yoda
from helpers.yoda import words
from helpers.yoda.grammar import inflect
from tools import write_data

HAND_MADE = [
    (("the old pilot", "repaired"), "the ship", "The ship, the old pilot repaired."),
    (("I", "will"), "read the book", "Read the book, I will."),
    (("Anna", "is not"), "painting the gate", "Painting the gate, Anna is not."),
]


@pytest.mark.parametrize(("core", "rest", "expected"), HAND_MADE)
def test_the_rule_by_hand(core, rest, expected):
    assert yoda.Sentence(" ".join(core), rest, "simple").yoda == expected


def test_a_question_and_a_subordinate_clause_by_hand():
    question = yoda.Sentence("did the chef", "burn the soup", "question")
    assert (question.english, question.yoda) == (
        "Did the chef burn the soup?",
        "Burn the soup, did the chef?",
    )
    both = yoda.Sentence("we will", "sell it", "subordinate", after="because he left")
    assert both.english == "We will sell it because he left."
    assert both.yoda == "Sell it, we will, because he left."
    before = yoda.Sentence("we will", "sell it", "subordinate", before="if he leaves")
    assert before.yoda == "If he leaves, sell it, we will."


@pytest.mark.parametrize("split", yoda.SPLITS)
def test_files_are_those_of_the_grammar(split):
    path = yoda.DATA_FOLDER / f"{split}.jsonl"
    assert path.read_text("utf-8") == write_data.text(split), "run `make data`"


def test_splits_do_not_overlap_and_new_words_are_new():
    rows = {split: yoda.rows(split) for split in yoda.SPLITS}
    sentences = [row["sentence"] for split in rows.values() for row in split]
    assert len(sentences) == len(set(sentences))
    assert sum(row["new_words"] for row in rows["test"]) == len(rows["test"]) / 2
    vocabularies = [
        words.PEOPLE,
        words.PLACES,
        *(v for pair in words.ACTIONS.values() for v in pair),
    ]
    held_out = {word for vocabulary in vocabularies for word in vocabulary.new.split()}
    trained = {
        word.strip(".,?").lower()
        for row in rows["train"] + rows["validation"]
        for word in row["sentence"].split()
    }
    forms = {inflect(w, f) for w in held_out for f in ("base", "third", "past", "ing")}
    assert not forms & trained


def to_english(translation):
    """Translate back by the commas of the text alone, which knows nothing of the grammar."""
    parts = (translation[0].lower() + translation[1:-1]).split(", ")
    conjunctions = ("when", "because", "while", "if", "before", "after")
    before = [f"{parts.pop(0)},"] if parts[0].startswith(conjunctions) else []
    rest, core, *after = parts
    sentence = " ".join([*before, core, rest, *after])
    return sentence[0].upper() + sentence[1:] + translation[-1]


def test_every_translation_leads_back_to_its_sentence():
    """Until now only the words were compared, not their order: English passed for Yoda's."""
    for split in yoda.SPLITS:
        for row in yoda.rows(split):
            assert to_english(row["translation"]) == row["sentence"]
            assert row["translation_extra"].startswith(row["translation"] + " ")


def test_agreement_of_subject_and_verb():
    """'She have', 'I is' and 'they was' are wrong whatever the sentence."""
    wrong = ("she have", "he have", "i is", "i are", "they was", "we is", "you was", "i were")
    for sentence in yoda.generate(3000, seed=7):
        text = f" {sentence.english.lower()} "
        assert not any(f" {w} " in text for w in wrong), text


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("carry", ["carry", "carries", "carried", "carried", "carrying"]),
        ("play", ["play", "plays", "played", "played", "playing"]),
        ("finish", ["finish", "finishes", "finished", "finished", "finishing"]),
        ("write", ["write", "writes", "wrote", "written", "writing"]),
    ],
)
def test_the_forms_of_a_verb(verb, forms):
    names = ("base", "third", "past", "participle", "ing")
    assert [inflect(verb, name) for name in names] == forms


def test_the_data_loads_as_the_grammar_makes_it():
    splits = yoda.load()
    assert list(splits) == list(yoda.SPLITS)
    for name, split in splits.items():
        assert split.to_list() == yoda.rows(name)


def test_unknown_split():
    with pytest.raises(ValueError, match=r"unknown split 'dev': choose one of train, validation"):
        yoda.rows("dev")
