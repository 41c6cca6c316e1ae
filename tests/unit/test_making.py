"""Rows made from a folder: complete, split, told, and gone on with after whatever ended it."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onegpu import making, preflight
from onegpu.command_line import make_data
from onegpu.command_line import run as command

SPLITS = ("train", "validation", "test")
BIRDS = """\
heron|wades through shallow water and waits for fish|nests in tall trees near a lake|94 cm
kestrel|hovers above meadows before it drops on a vole|lays its eggs in holes of old walls|34 cm
nightjar|catches moths with a wide open beak at dusk|breeds on bare ground in pine heath|27 cm
dipper|walks along the bottom of fast streams|builds a dome of moss behind waterfalls|18 cm
hoopoe|probes short grass for beetle larvae|uses hollow fruit trees in vineyards|28 cm
curlew|reaches deep worms with its curved bill|hides its clutch in wet upland pasture|57 cm
gannet|dives from thirty meters into the open sea|crowds on cliffs in noisy colonies|93 cm
siskin|hangs upside down to pick alder seeds|weaves a tiny cup at the end of a spruce branch|12 cm
osprey|snatches pike just below the surface|returns to the same platform each April|58 cm
wren|creeps under roots and searches for spiders|offers several domed nests to choose from|10 cm
magpie|remembers where it buried acorns|roofs its nest with thorny twigs|46 cm
swift|feeds and sleeps in the air for months|squeezes under roof tiles in towns|17 cm
"""


def write_birds(folder):
    """Write a page, a table and a ticket for each bird: a clean set."""
    folder.mkdir()
    table, tickets = ["bird,size,code"], []
    for number, line in enumerate(BIRDS.splitlines()):
        name, feeding, breeding, size = line.split("|")
        page = f"# The {name}\n\n## How does the {name} feed?\n\nThe {name} {feeding}.\n\n"
        (folder / f"{name}.md").write_text(f"{page}## Breeding\n\nIt {breeding}, as a rule.\n")
        table.append(f"{name},{size},B-{100 + 7 * number}")
        said = f"A {name} in your garden {feeding}; we're glad when people write to us about it."
        turns = [
            {"from": "visitor", "text": f"I saw a {name} today. What was it up to?"},
            {"from": "ranger", "text": said},
        ]
        tickets.append(json.dumps({"messages": turns}))
    (folder / "sizes.csv").write_text("\n".join(table))
    (folder / "tickets.jsonl").write_text("\n".join(tickets))


@pytest.fixture
def birds(tmp_path):
    folder = tmp_path / "birds"
    write_birds(folder)
    return folder


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rows_of(report):
    return [row for split in report.rows for row in read(report.files[split])]


def contents(out):
    """Return the bytes of all files of a run."""
    return {path.name: path.read_bytes() for path in out.parent.glob(f"{out.stem}*.jsonl")}


def test_a_clean_set_is_not_accused(birds, tmp_path, tokenizer):
    report = making.make(birds, out=tmp_path / "rows.jsonl")
    assert report.rejected == {}
    assert report.n_rows == len(rows_of(report)) == 12 * 5
    assert report.documents == 12 * 3
    assert min(report.rows.values()) > 0
    assert preflight.check_data(report.files["train"], tokenizer).codes == []
    found = preflight.check_data(report.files["train"], tokenizer, evaluation=report.files["test"])
    assert found.codes == []


def test_all_rows_of_a_document_are_in_one_split(birds, tmp_path):
    report = making.make(birds, out=tmp_path / "rows.jsonl")
    sources = {split: {row["source"] for row in read(report.files[split])} for split in SPLITS}
    assert sum(map(len, sources.values())) == len(set.union(*sources.values())) == 36
    assert all(making.split_of(name) == split for split in SPLITS for name in sources[split])


def test_by_row_a_document_is_in_several_splits(birds, tmp_path):
    settings = making.Settings(split_by="row", test_share=0.4)
    report = making.make(birds, out=tmp_path / "rows.jsonl", settings=settings)
    sources = [{row["source"] for row in read(report.files[split])} for split in SPLITS]
    assert sources[0] & sources[2]


def test_without_a_share_there_is_no_file(birds, tmp_path):
    settings = making.Settings(validation_share=0)
    report = making.make(birds, out=tmp_path / "rows.jsonl", settings=settings)
    assert list(report.rows) == ["train", "test"]
    assert not (tmp_path / "rows.validation.jsonl").exists()


def test_a_split_does_not_depend_on_the_other_documents():
    splits = {str(number): making.split_of(str(number)) for number in range(2000)}
    for name in splits.values():
        assert name in SPLITS
    assert sum(split == "test" for split in splits.values()) == pytest.approx(200, abs=50)
    assert sum(split == "validation" for split in splits.values()) == pytest.approx(200, abs=50)
    assert making.split_of("heron.md") == "train", "the same on every machine"


def test_each_fault_is_kept_with_its_reason(birds, tmp_path):
    (tmp_path / "test.jsonl").write_text(
        json.dumps({"prompt": "How does the heron feed?", "completion": "Fish."}) + "\n"
    )
    shutil.copy(birds / "wren.md", birds / "wren-copy.md")
    (birds / "empty.md").write_text("")
    (birds / "broken.csv").write_bytes("a,b\nKäse,1\n".encode("cp1252"))
    (birds / "contact.html").write_text("<h2>Where do I write?</h2><p>To owl@example.org.</p>")

    def writer(document):
        if document.name == "swift.md":
            answers = ("As an AI, I cannot fly.", "The swift has 12 wings.", "It feeds in the air.")
            for answer in answers:
                yield making.row(document, "How does a swift live?", answer, writer="model")
            raise OSError("the disk is full")

    report = making.make(
        birds,
        out=tmp_path / "rows.jsonl",
        writers=[making.by_template, writer],
        settings=making.Settings(test_rows=str(tmp_path / "test.jsonl")),
    )
    rejected = read(report.files["rejected"])
    assert {(row["source"], row["reason"]) for row in rejected} == {
        ("heron.md", "in-test-set"),
        ("wren.md", "duplicate"),
        ("empty.md", "no-text"),
        ("broken.csv#2", "unreadable"),
        ("contact.html", "personal-data"),
        ("swift.md", "refusal"),
        ("swift.md", "not-grounded"),
        ("swift.md", "writer-failed"),
    }
    assert report.rejected["duplicate"] == 2
    assert report.n_rows == 60 + 1 - 1
    assert dict(report.problems)["swift.md"] == "OSError: the disk is full"
    page = str(report)
    for expected in ("Names of people are not found", "| `duplicate` | 2 |", "datasketch | 2."):
        assert expected in page
    assert "| empty.md | no text in it |" in page


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Hi", "completion": "Ho"}, "prompt: expected messages with role and content"),
        ({"prompt": [{"role": "user", "content": "Hi"}]}, "completion: expected messages"),
    ],
)
def test_what_is_no_row_is_said_to_be_none(tmp_path, row, said):
    (tmp_path / "a.txt").write_text("Hi.")
    report = making.make(tmp_path / "a.txt", out=tmp_path / "rows.jsonl", writers=[lambda _: [row]])
    (rejected,) = read(report.files["rejected"])
    assert rejected["reason"] == "writer-failed"
    assert said in rejected["detail"]


def test_half_a_character_is_not_written(tmp_path):
    (tmp_path / "a.txt").write_text("Hi.")

    def writer(document):
        yield making.row(document, "Hi?", "Hi\ud800", writer="broken")

    report = making.make(tmp_path / "a.txt", out=tmp_path / "rows.jsonl", writers=[writer])
    assert report.rejected == {"writer-failed": 1}
    assert "UnicodeEncodeError" in read(report.files["rejected"])[0]["detail"]


def test_a_line_of_many_characters_is_one_row_that_is_too_long(tmp_path):
    line = json.dumps({"question": "How long?", "answer": "very long " * 200_000})
    (tmp_path / "a.jsonl").write_text(f'{line}\n{{"question": "Short?", "answer": "Short."}}\n')
    report = making.make(tmp_path / "a.jsonl", out=tmp_path / "rows.jsonl")
    assert (report.n_rows, report.rejected) == (1, {"too-long": 1})


# Going on -----------------------------------------------------------------------------------------

KILLED = """\
import os, sys, time
from onegpu import making
def slow(document):
    time.sleep(float(sys.argv[3]))
    yield from making.by_template(document)
making.make(sys.argv[1], out=sys.argv[2], writers=[slow])
"""


def start(folder, out, seconds):
    code = [sys.executable, "-c", KILLED, str(folder), str(out), str(seconds)]
    return subprocess.Popen(code, stdout=subprocess.DEVNULL)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_killed_and_called_again_it_writes_the_same_files(birds, tmp_path):
    whole, cut = tmp_path / "whole" / "rows.jsonl", tmp_path / "cut" / "rows.jsonl"
    assert start(birds, whole, 0).wait() == 0
    journal = cut.with_name("rows.documents.jsonl")
    for n_lines in (5, 14, 25):
        process = start(birds, cut, 0.03)
        while not journal.exists() or journal.read_bytes().count(b"\n") < n_lines:
            assert process.poll() is None, "it was to be killed before its end"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert b"finished" not in journal.read_bytes()
    assert start(birds, cut, 0).wait() == 0
    assert contents(cut) == contents(whole)


def test_cut_anywhere_and_called_again_it_writes_the_same_files(birds, tmp_path):
    """Every file is cut on its own, as a machine does that loses its power."""
    whole = tmp_path / "whole" / "rows.jsonl"
    making.make(birds, out=whole)
    expected = contents(whole)
    lines = expected["rows.documents.jsonl"].splitlines(keepends=True)
    for number, (kept, half) in enumerate([(0, 9), (1, 0), (7, 20), (20, 0), (36, 5), (37, 0)]):
        folder = tmp_path / f"cut {number}"
        shutil.copytree(whole.parent, folder)
        if kept == 0:
            for path in folder.glob("*.jsonl"):
                path.unlink()
        journal = b"".join(lines[:kept]) + lines[kept][:half]
        (folder / "rows.documents.jsonl").write_bytes(journal)
        making.make(birds, out=folder / "rows.jsonl")
        assert contents(folder / "rows.jsonl") == expected
    shorter = folder / "rows.jsonl"
    (folder / "rows.documents.jsonl").write_bytes(b"".join(lines[:30]))
    shorter.write_bytes(expected["rows.jsonl"][:2000])
    making.make(birds, out=shorter)
    assert contents(shorter) == expected


def test_finished_and_called_again_it_changes_nothing(birds, tmp_path):
    out = tmp_path / "out" / "rows.jsonl"
    first = making.make(birds, out=out)
    before = contents(out)
    assert making.make(birds, out=out) == first
    assert contents(out) == before


def test_new_documents_are_added_and_duplicates_of_old_ones_found(birds, tmp_path):
    out = tmp_path / "out" / "rows.jsonl"
    making.make(birds, out=out)
    shutil.copy(birds / "wren.md", birds / "a-copy.md")
    (birds / "owl.md").write_text("# The owl\n\n## Why does it turn its head?\n\nIts eyes can't.\n")
    report = making.make(birds, out=out)
    assert (report.documents, report.n_rows) == (38, 61)
    assert report.rejected == {"duplicate": 2}


def test_what_was_changed_since_is_not_written_over(birds, tmp_path):
    out = tmp_path / "out" / "rows.jsonl"
    making.make(birds, out=out)
    lines = out.read_bytes().splitlines(keepends=True)
    for changed in (lines[1:], [*lines, b"{}\n"]):
        out.write_bytes(b"".join(changed))
        with pytest.raises(ValueError, match=r"rows.jsonl changed after the run was finished"):
            making.make(birds, out=out)
        assert out.read_bytes() == b"".join(changed)
    out.write_bytes(b"".join(lines))
    with (birds / "wren.md").open("a") as file:
        file.write("More.\n")
    with pytest.raises(ValueError, match=r"wren.md has changed since its rows were made"):
        making.make(birds, out=out)


def test_rows_of_others_are_not_written_over(birds, tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text("mine\n")
    with pytest.raises(ValueError, match=r"rows.jsonl is there and has no journal"):
        making.make(birds, out=out)
    assert out.read_text() == "mine\n"
    with pytest.raises(ValueError, match="is among the documents"):
        making.make(birds, out=birds / "rows.jsonl")
    with pytest.raises(ValueError, match=r"give a name that ends in .jsonl"):
        making.make(birds, out=tmp_path / "rows.json")


def test_other_settings_are_told(birds, tmp_path):
    out = tmp_path / "out" / "rows.jsonl"
    making.make(birds, out=out)
    with pytest.raises(ValueError, match=r"made with {'max_words': 300}, not {'max_words': 20}"):
        making.make(birds, out=out, settings=making.Settings(max_words=20))
    with pytest.raises(ValueError, match=r"'writers': \['by_template'\]"):
        making.make(birds, out=out, writers=[lambda document: []])


def test_two_at_a_time_are_refused(birds, tmp_path):
    out = tmp_path / "out" / "rows.jsonl"

    def writer(document):
        with pytest.raises(RuntimeError, match="another process writes"):
            making.make(birds, out=out)
        return []

    making.make(birds / "wren.md", out=out, writers=[writer])


# The command --------------------------------------------------------------------------------------


def test_the_command_writes_rows_and_a_page(birds, tmp_path, capsys):
    out, page = tmp_path / "rows.jsonl", tmp_path / "rows.md"
    typed = ["make-data", str(birds), "--out", str(out), "--report", str(page)]
    assert command([*typed, "--split-by", "row"]) == 0
    assert "60 rows kept" in page.read_text("utf-8")
    assert capsys.readouterr().out.startswith("Report(36 documents, ")
    assert command(typed) == 2
    assert "'split_by': 'row'" in capsys.readouterr().err


def test_the_command_says_what_could_not_be_read(birds, tmp_path, capsys):
    (birds / "photo.png").write_bytes(b"\x89PNG")
    assert command(["make-data", str(birds), "--out", str(tmp_path / "rows.jsonl"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["problems"][0][0] == "photo.png"
    assert command(["make-data", "nowhere", "--out", str(tmp_path / "x.jsonl")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_the_command_asks_a_model_of_a_folder(birds, tmp_path, monkeypatch, tokenizer, tiny_model):
    folder = tmp_path / "model"
    tiny_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    monkeypatch.setattr(make_data, "MAX_NEW_TOKENS", 4)
    out = tmp_path / "rows.jsonl"
    assert (
        command(["make-data", str(birds / "wren.md"), "--out", str(out), "--ask", str(folder)]) == 0
    )
    rejected = read(out.with_name("rows.rejected.jsonl"))
    assert {row["reason"] for row in rejected} == {"bad-answer"}
    with pytest.raises(ValueError, match="serve it, with llama-server"):
        monkeypatch.setattr(make_data.sides, "check", lambda side: None)
        make_data._asking("model.gguf")


def test_documents_of_the_course_are_read():
    folder = Path(making.__file__).parents[2] / "helpers" / "data" / "documents"
    written = functools.partial(making.by_template, phrasings=3)
    for document in making.read(folder):
        assert not document.problem
        assert list(written(document)), document.name
