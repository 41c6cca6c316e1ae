"""Loading pairs of texts: columns are renamed, and what is broken is named by its place."""

import json
from pathlib import Path

import pytest

from onegpu import rows


def load(path):
    return rows.load_texts(path, columns={"sentence": "sentence", "translation": "translation"})


def test_any_two_columns_are_renamed_and_the_others_stay(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('question,answer,note\n"Who, you?","I, Yoda.",x\n', "utf-8")
    splits = rows.load_texts(path, columns={"question": "sentence", "answer": "translation"})
    (row,) = splits["train"]
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
        ("x.txt", "a", r"expected a file that ends in \.jsonl, \.ndjson, \.json, "),
    ],
)
def test_bad_data_is_named_by_file_line_and_column(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        load(path)


def test_bad_encoding_and_missing_file(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("sentence,translation\nCafé,b\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"no\.jsonl does not exist"):
        load(Path("no.jsonl"))
