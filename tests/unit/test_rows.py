"""Files of rows, whole and broken: `scan` names what is wrong by its row, and never raises it."""

import csv
import io
import json
import tracemalloc

import pytest

from onegpu import rows
from onegpu.rows import json_files, reading

DEEP = "[" * 100_000 + "]" * 100_000
LONG = "9" * 5_000


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def scanned(path):
    """Return value or problem of each row, with its place."""
    return {row.place: row.problem or row.value for row in rows.scan(path)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.jsonl", f'{{"a": 1}}\n{{"a": {LONG}}}\n{{"a": 2}}'),
        ("x.jsonl", f'{{"a": 1}}\n{{"a": [{{"b": -{LONG[1:]}}}]}}\n{{"a": 2}}'),
        ("x.json", f'[{{"a": 1}}, {{"a": {LONG}}}, {{"a": 2}}]'),
        ("x.json", f'[{{"a": 1}}, {LONG}, {{"a": 2}}]'),
    ],
)
def test_an_integer_that_python_does_not_convert(write, name, text):
    """Python refuses integers above 4,300 digits; its ValueError ended the scan of the file."""
    first, second, third = rows.scan(write(name, text))
    assert (first.value, third.value) == ({"a": 1}, {"a": 2})
    assert second.problem == "an integer of 5,000 digits: put it in quotes"


def test_json_that_is_nested_too_deeply(write):
    """A RecursionError ended the scan; a line after such a line can still be read."""
    for value in (DEEP, '{"a": ' * 100_000 + "1" + "}" * 100_000):
        path = write("x.jsonl", f'{{"a": {value}}}\n{{"a": 2}}')
        assert scanned(path) == {"line 1": json_files.TOO_DEEP, "line 2": {"a": 2}}
        path = write("x.json", f'[{{"a": 1}}, {{"a": {value}}}, {{"a": 2}}]')
        assert scanned(path) == {"item 1": {"a": 1}, "item 2": json_files.TOO_DEEP}


def test_json_that_can_be_decoded_and_is_too_deep_to_be_encoded():
    """Rows are encoded again to find bytes that are not UTF-8, which raised a RecursionError too.

    Which of the two gives up first depends on the version of Python.
    """
    value = {}
    for _ in range(100_000):
        value = {"a": value}
    assert reading._problem(value) == json_files.TOO_DEEP


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ('[{"a": 1} {"a": 2}]', "item 2", "broken JSON at '{' (expected ',' or ']' before it)"),
        ('[{"a": 1}] {"a": 2}', "item 2", "broken JSON at '{' (the array ended before it)"),
        ('[{"a": 1}]]', "item 2", "broken JSON at ']' (the array ended before it)"),
        ("[] x", "item 1", "broken JSON at 'x' (the array ended before it)"),
        ("[,]", "item 1", "broken JSON at ',' (Expecting value)"),
        ('[,{"a": 1}]', "item 1", "broken JSON at ',' (Expecting value)"),
        ('[{"a": 1},]', "item 2", "broken JSON at ']' (Expecting value)"),
        ('[{"a": 1},,{"a": 2}]', "item 2", "broken JSON at ',' (Expecting value)"),
        (
            '[{"a": 1}',
            "item 2",
            "broken JSON at 'end of file' (expected ',' or ']' before it)",
        ),
        ('[{"a": 1}, ', "item 2", "broken JSON at 'end of file' (Expecting value)"),
        ("[", "item 1", "broken JSON at 'end of file' (Expecting value)"),
        (
            '[{"a": 1}, {"a": "bc',
            "item 2",
            "broken JSON at 'end of file' (Unterminated string starting at)",
        ),
        ('[{"a": 1}, {"a" 2}]', "item 2", "broken JSON at '2' (Expecting ':' delimiter)"),
        ('[{"a": 1},\u00a0{"a": 2}]', "item 2", "broken JSON at '\\xa0' (Expecting value)"),
        ("[1]", "item 1", "expected an object {...} with columns, got a int"),
        ("", "item 1", json_files.NO_ROWS),
        (" \n", "item 1", json_files.NO_ROWS),
        ("1", "item 1", json_files.NO_ROWS),
        ('{"a": 1}, {"a": 2}', "item 2", "broken JSON at ',' (the object ended before it)"),
        ('{"a": 1} [1]', "item 2", "broken JSON at '[' (the object ended before it)"),
        ('{"a": 1} {"a": ', "item 2", "broken JSON at 'end of file' (Expecting value)"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, 1_000_000])
def test_a_broken_array_is_named(write, monkeypatch, chunk, text, place, problem):
    """Commas were optional, what followed the array was not read, and an item was a 'line'."""
    monkeypatch.setattr(json_files, "CHUNK", chunk)
    *before, (last, found) = scanned(write("x.json", text)).items()
    assert (last, found) == (place, problem)
    assert before == [("item 1", {"a": 1})][: len(before)]


def test_a_place_is_a_line_or_an_item(write):
    """Item 3 of an array that is written in one line was called line 3."""
    assert [row.place for row in rows.scan(write("x.json", "[{}, {}]"))] == ["item 1", "item 2"]
    assert [row.place for row in rows.scan(write("x.jsonl", "{}\n\n{}"))] == ["line 1", "line 3"]
    assert [row.place for row in rows.scan(write("x.csv", "a\nb\n"))] == ["line 2"]
    with pytest.raises(ValueError, match=r"x\.json, item 2: expected an object"):
        list(rows.read(write("x.json", "[{}, 1]")))
    with pytest.raises(ValueError, match=r"x\.json, item 1: no column 'sentence'"):
        rows.load_texts(write("x.json", '[{"a": 1}]'), columns={"sentence": "sentence"})
    with pytest.raises(ValueError, match=r"x\.json, item 1: broken JSON at ']'"):
        rows.load_texts(write("x.json", '[{"a": ]'), columns={"sentence": "sentence"})


def test_any_item_is_decoded_whole_wherever_a_chunk_ends(monkeypatch):
    """Of [12] cut into [1 and 2] two numbers were made, of true an error."""
    values = [12, -3.5e-07, 1e30, True, False, None, "\\ud83d\\ude00", [], [[], 0], {"a": [-1]}]
    text = json.dumps(values, indent=1).replace("e-07", "E-07").replace("e+30", "e+30")
    for chunk in range(1, len(text) + 2):
        monkeypatch.setattr(json_files, "CHUNK", chunk)
        assert [row.value for row in json_files.values(io.StringIO(text))] == values


class CountedText(str):
    """A text that counts the characters of its copies, and so do its copies."""

    n_copied = 0


def counting(name):
    method = getattr(str, name)

    def counted(self, *arguments):
        copy = CountedText(method(self, *arguments))
        CountedText.n_copied += len(copy)
        return copy

    return counted


for name in ("__getitem__", "__add__", "lstrip", "removeprefix"):
    setattr(CountedText, name, counting(name))


class CountedFile(io.StringIO):
    """A file that gives counted texts."""

    def read(self, size=-1):  # noqa: D102
        return CountedText(super().read(size))


def test_an_array_is_copied_a_few_times_and_not_once_a_row(monkeypatch):
    """Each row of a chunk copied the rest of the chunk: up to 1 MB for a row of 100 characters."""
    monkeypatch.setattr(json_files, "CHUNK", 10_000)
    text = json.dumps([{"a": i} for i in range(20_000)])
    monkeypatch.setattr(CountedText, "n_copied", 0)
    assert sum(not row.problem for row in json_files.values(CountedFile(text))) == 20_000
    assert CountedText.n_copied < 3 * len(text)


def test_an_item_of_many_chunks_is_decoded_a_few_times(monkeypatch):
    """Reading on chunk by chunk would decode an item of a hundred chunks a hundred times."""
    decoded = []
    decode = json.JSONDecoder.raw_decode

    def counting(self, text, at=0):
        decoded.append(len(text) - at)
        return decode(self, text, at)

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", counting)
    monkeypatch.setattr(json_files, "CHUNK", 1_000)
    item = {"a": ["word " * 20_000, *range(100_000)]}
    text = json.dumps([item, {"b": 1}])
    assert [row.value for row in json_files.values(io.StringIO(text))] == [item, {"b": 1}]
    assert sum(decoded) < 4 * len(text)


@pytest.mark.parametrize("broken", ['{"a" 1}', '{"a": "b\n"}', "x", "{} {}", '{"a": tru}'])
def test_nothing_is_read_after_a_broken_item(write, monkeypatch, broken):
    """One broken row in a file of gigabytes read the whole rest of the file into memory."""
    monkeypatch.setattr(json_files, "CHUNK", 1_000)
    path = write("x.json", f"[{broken}, " + '{"a": 1},' * 500_000 + "{}]")
    tracemalloc.start()
    try:
        *_, last = rows.scan(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last.problem
    assert peak < 500_000  # of a file of 4.5 MB


def test_a_bracket_that_is_never_closed_does_not_fill_the_memory(monkeypatch):
    """After an inner [ that nobody closed, the rest of the file was one item."""
    monkeypatch.setattr(json_files, "CHUNK", 100)
    monkeypatch.setattr(json_files, "LONGEST", 1_000)
    file = io.StringIO('[{"a": [' + '{"a": 1},' * 10_000)
    (row,) = json_files.values(file)
    assert row.problem.startswith("over 1,000 characters long: is a bracket left open? ")
    assert file.tell() < 5_000


def test_a_name_that_is_there_twice(write):
    """The last of two columns of the same name was taken, and the first one lost."""
    problem = "'a' is there 2 times: rename or remove one"
    for text in ('{"a": 1, "a": 2}', '{"b": [{"a": 1, "c": 0, "a": 2}]}'):
        assert scanned(write("x.jsonl", text + "\n{}")) == {"line 1": problem, "line 2": {}}
        assert scanned(write("x.json", f"[{text}, {{}}]")) == {"item 1": problem, "item 2": {}}
    assert scanned(write("x.csv", "a,b,a\n1,2,3\n")) == {"line 2": problem}
    # A spreadsheet saves empty columns as well
    assert scanned(write("x.csv", "a,,\n1,,\n")) == {"line 2": {"a": "1", "": ""}}


def test_half_a_character(write):
    r"""A lone \ud83d in a file of pure ASCII was reported as 'not UTF-8: save it as UTF-8'."""
    found = scanned(write("x.jsonl", '{"a": "\\ud83d\\ude00"}\n{"a": "b\\ud83d"}'))
    assert found["line 1"] == {"a": "😀"}
    assert found["line 2"].startswith('half of a \\u pair after \'{"a": "b\'')
    assert "not UTF-8 after" in scanned(write("x.jsonl", b'{"a": "\xff"}'))["line 1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a,b\n1,"2\n3,4\n5,6\n', {"line 2": "unexpected end of data"}),
        (
            'a,b\n1,2\n\n"3\n\n',
            {"line 2": {"a": "1", "b": "2"}, "line 4": "unexpected end of data"},
        ),
        (
            'a,b\n"She said "hi" twice",1\n2,3\n',
            {"line 2": "',' expected after '\"'", "line 3": {"a": "2", "b": "3"}},
        ),
        ('"a,b\n1,2\n', {"line 1": "unexpected end of data"}),
        ('"a"x,b\n1,2\n', {"line 1": "',' expected after '\"'"}),
        ('a,b\n"1\n2",3\n', {"line 3": {"a": "1\n2", "b": "3"}}),
        ('a,b\n"1 ""2""",3 "4"\n', {"line 2": {"a": '1 "2"', "b": '3 "4"'}}),
    ],
)
def test_quotes_of_a_table(write, text, expected):
    """A quote that was never closed made one cell of all further rows, without a word."""
    found = scanned(write("x.csv", text))
    for place, value in expected.items():
        if isinstance(value, str):
            assert found.pop(place).startswith(f"broken quotes ({value})")
        else:
            assert found.pop(place) == value
    assert found == {}


def test_the_longest_cell_is_one_that_windows_accepts(write):
    """`csv.field_size_limit(sys.maxsize)` raises OverflowError where a C long has 32 bits."""
    assert scanned(write("x.csv", "a\n" + "b" * 200_000)) == {"line 2": {"a": "b" * 200_000}}
    assert csv.field_size_limit() < 2**31


def test_nul_characters_are_characters(write):
    for name, text in (("x.jsonl", '{"a": "\\u0000"}'), ("x.json", '[{"a": "\\u0000"}]')):
        assert list(scanned(write(name, text)).values()) == [{"a": "\0"}]
    assert scanned(write("x.csv", "a\n\0\n")) == {"line 2": {"a": "\0"}}


def test_a_mark_at_the_start_of_a_file_is_no_text(write):
    for name, text in (("x.jsonl", '{"a": "1"}'), ("x.json", '[{"a": "1"}]'), ("x.csv", "a\n1\n")):
        assert list(scanned(write(name, "\ufeff" + text)).values()) == [{"a": "1"}]


def test_files_without_rows(write):
    for name, text in (("x.jsonl", ""), ("x.jsonl", " \r\n\n"), ("x.json", "[ ]"), ("x.csv", "")):
        assert scanned(write(name, text)) == {}


def test_a_line_of_a_space_that_json_does_not_know(write):
    """A line of a no-break space was left out as an empty one; json refuses it."""
    assert scanned(write("x.jsonl", "\u00a0\n{}"))["line 1"].startswith("broken JSON at column 1")


def test_a_folder_is_no_file(tmp_path):
    """A folder called x.jsonl was an IsADirectoryError, on Windows a PermissionError."""
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(ValueError, match=r"x\.jsonl is a folder: give a file"):
        list(rows.scan(tmp_path / "x.jsonl"))


def test_upper_case_endings(write):
    """DATA.JSONL was refused with 'expected a file that ends in .jsonl'."""
    for name, text in (("X.JSONL", '{"a": "1"}'), ("X.Json", '[{"a": "1"}]'), ("X.CSV", "a\n1\n")):
        assert list(scanned(write(name, text)).values()) == [{"a": "1"}]
