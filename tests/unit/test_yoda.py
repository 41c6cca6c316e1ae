"""The grammar against hand-made sentences, and translated back by its text; the loader's errors."""

import json
from pathlib import Path

import pytest
import write_data

from helpers import yoda

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
    vocabularies = [yoda.PEOPLE, yoda.PLACES, *(v for pair in yoda.ACTIONS.values() for v in pair)]
    held_out = {w for v in vocabularies for w in v.split("|")[1].split()}
    trained = {
        word.strip(".,?").lower()
        for row in rows["train"] + rows["validation"]
        for word in row["sentence"].split()
    }
    forms = {yoda._inflect(w, f) for w in held_out for f in ("base", "third", "past", "ing")}
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


def test_unknown_split():
    with pytest.raises(ValueError, match=r"unknown split 'dev': choose one of train, validation"):
        yoda.rows("dev")


def test_load_takes_any_two_columns(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('question,answer,note\n"Who, you?","I, Yoda.",x\n', "utf-8")
    (row,) = yoda.load(path, sentence="question", translation="answer")["train"]
    assert row == {"sentence": "Who, you?", "translation": "I, Yoda.", "note": "x"}


GOOD = json.dumps({"sentence": "a", "translation": "b"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", GOOD + '\n{"sentence": "a"}', r"x\.jsonl, line 2: no column 'translation'"),
        ("x.jsonl", GOOD + '\n{"sentence": ', r"x\.jsonl, line 2: broken JSON at column 14"),
        ("x.jsonl", GOOD + "\n[1]", r"x\.jsonl, line 2: expected an object"),
        (
            "x.jsonl",
            '{"sentence": "a", "translation": 3}',
            r"line 1, column 'translation': expected text, got 3",
        ),
        (
            "x.jsonl",
            '{"sentence": " ", "translation": "b"}',
            r"line 1, column 'sentence': the text is empty",
        ),
        ("x.jsonl", "", r"x\.jsonl holds no rows"),
        ("x.csv", "sentence,other\na,b\n", r"x\.csv, line 2: no column 'translation'"),
        ("x.csv", "sentence,translation\na,\n", r"line 2, column 'translation': the text is empty"),
        ("x.csv", "sentence,translation\na,b,c\n", r"line 2: 3 cells for 2 columns"),
        ("x.csv", "sentence,translation\na\n", r"line 2: 1 cells for 2 columns"),
        ("x.txt", "a", r"expected a file that ends in \.jsonl, \.json, \.csv"),
    ],
)
def test_bad_data_is_named_by_file_line_and_column(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        yoda.load(path)


def test_bad_encoding_and_missing_file(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("sentence,translation\nCafé,b\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        yoda.load(path)
    with pytest.raises(FileNotFoundError, match=r"no\.jsonl does not exist"):
        yoda.load(Path("no.jsonl"))
