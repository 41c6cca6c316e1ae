"""Files as people have them: written by pandas, by a spreadsheet, by an API, or twice."""

import csv
import gzip
import json
import math
from pathlib import Path

import datasets
import huggingface_hub
import pandas as pd
import pytest

from onegpu import command_line, rows
from onegpu.rows import json_files

ALPACA = [
    {"instruction": "Name the capital.", "input": country, "output": city}
    for country, city in (("France", "Paris"), ("Peru", "Lima"), ("Kenya", "Nairobi"))
]
MESSAGES = [
    [{"role": "user", "content": text}, {"role": "assistant", "content": "It's Yoda."}]
    for text in ('Who said "do"?', "Who's\nthis?", "Who, me?")
]
FRAME = pd.DataFrame(ALPACA)
LINES = "\n".join(json.dumps(row) for row in ALPACA)
ARRAY = json.dumps(ALPACA)
PRETTY = "\n".join(json.dumps(row, indent=2) for row in ALPACA)


def read(folder, name, content):
    """Write a file and return its rows, or the first problem in it."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    found = list(rows.scan(path))
    problems = [f"{row.place}: {row.problem}" for row in found if row.problem]
    return problems[0] if problems else [row.value for row in found]


# JSON -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [3, 1_000_000])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", FRAME.to_json()),
        ("x.json", FRAME[1:].reset_index(drop=True).to_json().replace("{", " {\n")),
        ("x.json", FRAME.to_json(orient="index")),
        ("x.json", FRAME.to_json(orient="records")),
        ("x.json", FRAME.to_json(orient="table", index=False)),
        ("x.json", json.dumps(FRAME.to_dict(orient="list"))),
        ("x.json", json.dumps({"data": ALPACA})),
        ("x.json", json.dumps({"version": "1.1", "tags": ["a"], "data": ALPACA}, indent=1)),
        ("x.json", LINES),
        ("x.json", PRETTY),
        ("x.json", json.dumps(ALPACA[:2]) + json.dumps(ALPACA[2:])),
        ("x.json", json.dumps(ALPACA[:1], indent=1) + "\n[]\n" + json.dumps(ALPACA[1:])),
        ("x.jsonl", LINES),
        ("x.ndjson", LINES),
        ("x.jsonl", PRETTY),
        ("x.jsonl", "\n" + ARRAY),
        ("x.ndjson", json.dumps(ALPACA, indent=2)),
    ],
)
def test_any_unambiguous_layout_of_json(tmp_path, monkeypatch, chunk, name, text):
    """All were refused, and of two arrays the second was lost."""
    monkeypatch.setattr(json_files, "CHUNK", chunk)
    found = read(tmp_path, name, text)
    assert found == (ALPACA if len(found) == 3 else ALPACA[1:])
    assert "Peru" in text and all(row["input"] in text for row in found)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": MESSAGES[0]},
        {"prompt": MESSAGES[0][:1], "completion": MESSAGES[0][1:]},
        {"conversations": [{"from": "human", "value": "a"}]},
        {"messages": MESSAGES[0], "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"text": "a", "entities": [{"start": 0}]},
        {"chat": MESSAGES[0]},
        {"data": []},
        {"text": "a"},
        {},
    ],
)
def test_the_only_row_of_a_file_is_no_container(tmp_path, row):
    for text in (json.dumps(row), json.dumps(row, indent=1), json.dumps([row])):
        assert read(tmp_path, "x.json", text) == [row]


def test_a_column_of_conversations_is_no_conversation(tmp_path):
    text = json.dumps({"messages": MESSAGES})
    assert read(tmp_path, "x.json", text) == [{"messages": turns} for turns in MESSAGES]


def test_several_lists_of_rows_are_not_mixed(tmp_path):
    found = read(tmp_path, "x.json", json.dumps({"train": ALPACA, "test": ALPACA[:1]}))
    assert found == ("item 1: several lists of rows (train, test): save each as its own file")


def test_an_object_that_is_too_large_to_be_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "CHUNK", 10)
    monkeypatch.setattr(json_files, "LONGEST", 100)
    found = read(tmp_path, "x.json", json.dumps({"data": ALPACA}))
    assert found.endswith("save one row a line, as .jsonl")


# Tables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "X.TSV"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_cells_are_parted_as_those_of_the_header(tmp_path, name, delimiter, quoting):
    """German Excel writes semicolons; the advice was to put cells that hold a comma in quotes."""
    frame = pd.DataFrame({"question (short, or long)": ["a, b", "c; d"], "answer": ["e\tf", 'g"h']})
    text = frame.to_csv(sep=delimiter, index=False, quoting=quoting)
    if delimiter == ";" and quoting == csv.QUOTE_MINIMAL:
        assert text.startswith("question (short, or long);answer\n")
    assert read(tmp_path, name, "\ufeff" + text) == frame.to_dict(orient="records")


def test_a_table_of_one_column(tmp_path):
    assert read(tmp_path, "x.csv", "text\na\n") == [{"text": "a"}]
    found = read(tmp_path, "x.csv", "text\na; b\nc, d\n")
    assert found == "line 3: 2 cells for 1 columns: put cells that hold a comma in quotes"


@pytest.mark.parametrize(("delimiter", "word"), [(",", "comma"), (";", "semicolon"), ("\t", "tab")])
def test_the_delimiter_is_named(tmp_path, delimiter, word):
    found = read(tmp_path, "x.csv", "\na,b\n1,2\n1,2,3\n".replace(",", delimiter))
    assert found == f"line 4: 3 cells for 2 columns: put cells that hold a {word} in quotes"


def test_what_a_quote_swallows_is_named(tmp_path):
    """A quote that nobody closed hid five rows: only its first line was named."""
    text = 'a,b\n1,2\n3,"4\n' + "5,6\n" * 5
    assert read(tmp_path, "x.csv", text) == (
        "line 3: broken quotes (unexpected end of data) up to line 8: close each quote; one inside "
        'quotes is written ""'
    )


def test_two_tables_in_one_file(tmp_path):
    """The header of the second one became a row."""
    found = read(tmp_path, "x.csv", "a,b\n1,2\na,b\n3,4\n")
    assert found == "line 3: the header again, of another file: remove this line"
    assert read(tmp_path, "x.csv", "a\nb\na\n") == [{"a": "b"}, {"a": "a"}]


def test_a_file_of_windows_says_what_it_seems_to_be(tmp_path):
    text = "question;answer\r\nDas ist größer.;50 €\r\n"
    found = read(tmp_path, "x.csv", text.encode("cp1252"))
    assert found.startswith("line 2: not UTF-8 after '")
    assert "as cp1252, of Windows, it goes on 'ößer." in found
    old, new = tmp_path / "x.csv", tmp_path / "new.csv"
    _, _, advice = found.partition("If that is right, ")
    exec(advice, {"Path": Path, "old": old, "new": new})
    assert list(rows.read(new)) == [(2, {"question": "Das ist größer.", "answer": "50 €"})]
    # 0x81 is no character of cp1252
    assert "cp1252" not in read(tmp_path, "x.csv", b"a\nb\x81\n")


# Other containers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [("x.jsonl.gz", LINES), ("x.json.gz", ARRAY), ("X.CSV.GZ", FRAME.to_csv(index=False))],
)
def test_gzip(tmp_path, name, text):
    whole = gzip.compress(text.encode())
    assert read(tmp_path, name, whole) == ALPACA
    assert read(tmp_path, name, gzip.compress(("\ufeff" + text).encode())) == ALPACA
    assert "UTF-16" in read(tmp_path, name, gzip.compress(text.encode("utf-16")))
    for broken in (whole[:-20], text.encode(), whole[:15] + b"\xff" * 8 + whole[23:]):
        assert ": broken gzip (" in read(tmp_path, name, broken)


def test_what_was_read_before_a_broken_gzip_is_kept(tmp_path):
    lines = "".join(f'{{"a": {math.sin(number)}}}\n' for number in range(50_000))
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(lines.encode())[:-1000])
    *before, last = rows.scan(path)
    assert last.problem.startswith("broken gzip (")
    assert len(before) > 40_000 and last.number == before[-1].number + 1


def test_parquet(tmp_path):
    values = [{"messages": turns, "id": number} for number, turns in enumerate(MESSAGES)]
    path = tmp_path / "x.parquet"
    pd.DataFrame(values).to_parquet(path, row_group_size=2)
    assert list(rows.read(path)) == list(enumerate(values, start=1))
    assert [row.place for row in rows.scan(path)] == ["row 1", "row 2", "row 3"]
    path.write_bytes(path.read_bytes()[:-10])
    (row,) = rows.scan(path)
    assert row.problem.startswith("broken Parquet (")
    assert row.place == "row 1"


def test_parquet_whose_cells_are_json(tmp_path):
    """`datasets` writes objects of different keys so, and pyarrow alone gives their text."""
    calls = [{"name": "a", "arguments": {"b": 1}}, {"name": "c", "arguments": {"d": "e"}}]
    values = [{"messages": [{"role": "assistant", "tool_calls": [call]}]} for call in calls]
    path = tmp_path / "x.parquet"
    datasets.Dataset.from_list(values, on_mixed_types="use_json").to_parquet(path)
    assert [row for _, row in rows.read(path)] == values


def test_a_data_set_of_the_hub_is_streamed(tmp_path, monkeypatch):
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return datasets.IterableDataset.from_generator(lambda: iter(ALPACA))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    found = list(rows.scan("yoda/wise.sayings-2"))
    assert asked == [("yoda/wise.sayings-2", {"split": "train", "streaming": True})]
    assert [row.value for row in found] == ALPACA
    assert found[2].place == "row 3"

    def refuse(name, **_):
        raise ValueError("Config name is missing.\nPick one among: main")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(ValueError, match=r"row 1: Config name is missing. Pick .*to_json\('rows"):
        list(rows.scan("yoda/wise.sayings-2"))


def test_without_a_network_a_hub_name_fails_at_once(tmp_path, monkeypatch, capsys):
    """`load_dataset` tried again for 23 seconds."""

    def fail(*_, timeout, **__):
        assert timeout <= 10
        raise ConnectionError("Name or service not known")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
    with pytest.raises(FileNotFoundError, match=r"a/b is no file, and no data set .*Name or serv"):
        list(rows.scan("a/b"))
    assert command_line.run(["preflight", "a/b"]) == 2
    assert "a/b is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["no.jsonl", "a/no.parquet", "a/no.csv.gz", "no", "a/b/no", "./no"]
)
def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist: give a file, or a hub name"):
        list(rows.scan(name))


# Converters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl"])
@pytest.mark.parametrize("written", [str, json.dumps])
def test_a_column_that_holds_a_list_as_text(tmp_path, name, written):
    """Trl drops every such row; `str` is how pandas writes a list into a CSV file."""
    frame = pd.DataFrame({"messages": [written(turns) for turns in MESSAGES]})
    path = tmp_path / name
    if name == "x.jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path)
    found = [rows.from_encoded(row)["messages"] for _, row in rows.read(path)]
    assert found == MESSAGES


def test_what_holds_no_list_is_not_decoded():
    row = {"messages": MESSAGES[0], "note": "[1]"}
    assert rows.from_encoded(row) == row
    assert rows.from_encoded(row, columns=["note"]) == {**row, "note": [1]}
    for text in ("Hello!", "1", "[1", "[a()]", "[{'a': 1}\n {'b': 2}]", "[" * 100_000, ""):
        with pytest.raises(ValueError, match="column 'messages' holds neither a JSON nor a Python"):
            rows.from_encoded({"messages": text})
    with pytest.raises(ValueError, match="no column messages: this row has text"):
        rows.from_encoded({"text": ""})


@pytest.mark.parametrize("empty", [math.nan, None, ""])
def test_an_alpaca_row_without_input(empty):
    """NaN, as pandas writes an empty cell, raised a TypeError from inside `join`."""
    row = {"instruction": "Hi.", "input": empty, "output": "Hello."}
    assert rows.from_alpaca(row)["prompt"] == [{"role": "user", "content": "Hi."}]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output": 42}, "column 'output': expected text, got 42; make it text with str()"),
        ({"output": None}, "column 'output': expected text, got None"),
        ({"instruction": math.nan}, "column 'instruction': expected text, got nan"),
        ({"input": 7}, "column 'input': expected text, got 7"),
        ({"input": ["a"]}, r"column 'input': expected text, got \['a'\]"),
    ],
)
def test_a_cell_that_is_no_text_is_named(changed, message):
    with pytest.raises(ValueError, match=message):
        rows.from_alpaca({**ALPACA[0], **changed})


TOOL = {"name": "room_heat", "parameters": {"type": "object", "properties": {}}}
CALL = {"name": "room_heat", "arguments": {"room": "attic"}}
CALLED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How warm is the attic?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": CALL}],
    },
    {"role": "tool", "content": '{"celsius": 14}'},
    {"role": "assistant", "content": "14 degrees."},
]
WITH_TOOLS = {"messages": CALLED, "tools": [{"type": "function", "function": TOOL}]}


@pytest.mark.parametrize("wrap", [json.dumps, lambda value: value])
@pytest.mark.parametrize("calls", [CALL, [CALL]])
def test_tools_of_sharegpt(wrap, calls):
    """`tools` was dropped, and the roles of a call and its result were left as they were."""
    turns = [("human", CALLED[1]["content"]), ("function_call", wrap(calls))]
    turns += [("observation", CALLED[3]["content"]), ("gpt", CALLED[4]["content"])]
    row = {
        "conversations": [{"from": role, "value": value} for role, value in turns],
        "system": "Be brief.",
        "tools": wrap([TOOL]),
    }
    assert rows.from_sharegpt(row) == WITH_TOOLS
    assert "tools" not in rows.from_sharegpt({**row, "tools": wrap([])})


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        (
            {"from": "function_call", "value": "look!"},
            "a function_call: expected JSON, got 'look!'",
        ),
        ({"from": "function_call", "value": "[1]"}, "a call: expected name and arguments, got 1"),
        ({"from": "function_call", "value": '{"name": "a"}'}, "no column arguments: this row has"),
        ({"from": ["gpt"], "value": ""}, "column 'from': expected text"),
        ("gpt", "column 'conversations': expected objects, got 'gpt'"),
    ],
)
def test_a_broken_turn_of_sharegpt(turn, message):
    with pytest.raises(ValueError, match=message):
        rows.from_sharegpt({"conversations": [turn]})
    for cell, kind in (("[]", "text; from_encoded decodes it"), (3, "3")):
        with pytest.raises(ValueError, match=f"'conversations': expected a list, got {kind}"):
            rows.from_sharegpt({"conversations": cell})


def test_an_agents_log():
    """Arguments are JSON there, which most templates encode again; so does null become 'None'."""
    call = {"name": "room_heat", "arguments": json.dumps(CALL["arguments"])}
    log = [dict(message) for message in CALLED]
    log[2] = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": call}]}
    before = json.dumps(log)
    found = rows.from_openai({"messages": log, "tools": WITH_TOOLS["tools"]})
    assert json.dumps(log) == before
    assert found["messages"][2]["tool_calls"][0].pop("id") == "1"
    assert found == WITH_TOOLS
    log[2] = {"role": "assistant", "content": None, "function_call": call}
    log[3] = {"role": "function", "content": '{"celsius": 14}'}
    assert rows.from_openai({"messages": log, "functions": [TOOL]}) == WITH_TOOLS
    assert rows.from_openai({"messages": MESSAGES[0]}) == {"messages": MESSAGES[0]}


def test_a_preference_of_openai():
    row = {
        "input": {"messages": MESSAGES[0][:1], "tools": [], "parallel_tool_calls": True},
        "preferred_output": MESSAGES[0][1:],
        "non_preferred_output": MESSAGES[1][1:],
    }
    assert rows.from_openai(row) == {
        "prompt": MESSAGES[0][:1],
        "chosen": MESSAGES[0][1:],
        "rejected": MESSAGES[1][1:],
    }
    with pytest.raises(ValueError, match="no column non_preferred_output"):
        rows.from_openai({"input": {}, "preferred_output": []})


def test_only_the_last_answer():
    found = rows.from_messages(WITH_TOOLS)
    assert found == {
        "prompt": CALLED[:4],
        "completion": CALLED[4:],
        "tools": WITH_TOOLS["tools"],
    }
    for messages, roles in ((CALLED[:2], "system, user"), (CALLED[4:], "assistant"), ([], "none")):
        with pytest.raises(ValueError, match=f"roles {roles}: expected at least two messages"):
            rows.from_messages({"messages": messages})


def test_documents():
    assert rows.from_document({"document": "a\n\nb", "id": 1}) == {"text": "a\n\nb"}
    with pytest.raises(ValueError, match="column 'body': expected text, got nan"):
        rows.from_document({"body": math.nan}, document="body")


def test_the_best_and_the_worst_of_scored_answers():
    row = {"prompt": "p", "answers": ["a", "b", "c", "d"], "scores": [2, 3.5, -1, 3.5]}
    found = rows.from_scores(row)
    assert {name: turns[0]["content"] for name, turns in found.items()} == {
        "prompt": "p",
        "chosen": "b",
        "rejected": "c",
    }
    for changed, message in (
        ({"scores": [1, 1, 1, 1]}, "prefers no answer; leave this row out"),
        ({"scores": []}, "prefers no answer|expected 0 texts"),
        ({"scores": [1, 2, 3, math.nan]}, "column 'scores': expected a list of numbers"),
        ({"scores": "1"}, "column 'scores': expected a list of numbers"),
        ({"answers": ["a"]}, "column 'answers': expected 4 texts, one for each score"),
        ({"answers": ["a", "b", "c", None]}, "column 'answers': expected 4 texts"),
    ):
        with pytest.raises(ValueError, match=message):
            rows.from_scores({**row, **changed})


# Loading texts ----------------------------------------------------------------------------------


def test_columns_that_some_rows_lack(tmp_path):
    """Columns that row 1 lacks were dropped, and an id of another type was an error of Arrow."""
    values = [
        {"question": "a", "answer": "b", "id": 1},
        {"question": "c", "answer": "d", "id": "b2", "source": "atlas"},
        {"question": "e", "answer": "f", "id": 3, "tags": ["x", 1], "meta": {"y": 1}},
        {"question": "g", "answer": "h", "meta": {"z": [None]}},
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, values)), "utf-8")
    columns = {"question": "question", "answer": "reply"}
    found = list(rows.load_texts(path, columns=columns)["train"])
    every = ("question", "answer", "id", "source", "tags", "meta")
    expected = [{columns.get(name, name): row.get(name) for name in every} for row in values]
    assert found == expected


def test_a_number_that_no_table_holds(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"text": "a", "id": {2**70}}}', "utf-8")
    with pytest.raises(
        ValueError, match=r"x\.jsonl holds a number above 64 bits: put it in quotes"
    ):
        rows.load_texts(path, columns={"text": "text"})


def test_reading_a_table_leaves_the_limit_of_csv_alone(tmp_path):
    """It is one for the whole process: everybody's long cells were read from then on."""
    file = tmp_path / "long.csv"
    file.write_text("text\n" + "a" * 200_000 + "\n", "utf-8")
    before = csv.field_size_limit()
    assert [len(row["text"]) for _, row in rows.read(file)] == [200_000]
    assert csv.field_size_limit() == before
