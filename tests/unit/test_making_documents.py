"""Documents read, cut into chunks, and turned into rows by template."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onegpu import making

repeatable = settings(derandomize=True, deadline=None, max_examples=100)
MANUAL = """\
---
title: not a heading
---
Before all.

# The Heron pump

It moves water.

## Cleaning

Rinse it weekly. Use vinegar!

```sh
# no heading, a comment
```

### The *filter*

Change it in May.

Faults
------

| code | meaning |
|---|---|
| E1 | no water |
| E2 | too warm |
"""
PAGE = """\
<html><head><title>x</title><style>p {}</style></head><body><nav>Home</nav><h1>Questions</h1>
<h2>Is it <em>loud</em>?</h2><p>No &amp; never.<br>Not at night.</p>
<dl><dt>How heavy is it?</dt><dd>3 kg</dd></dl>
<details><summary>Can it freeze?</summary>Yes, below zero.</details>
<h2>Prices</h2><table><tr><th>part</th><th>price</th></tr><tr><td>seal</td><td>2.80</td></tr></table>
<script>alert(1)</script><footer>All rights reserved</footer></body></html>
"""
CHAT = """\
[2026-03-02 14:05] Mara: Does it float?
[2026-03-02 14:06] Support: It does not.
Really not.
[2026-03-02 14:07] Tom: Does it sink?
[2026-03-02 14:09] Support: It does.
3/4/26, 2:05 PM - Tom: Still?
3/4/26, 2:06 PM - Support: Still.
"""


@pytest.fixture
def write(tmp_path):
    """Write a file, and return its documents."""

    def read(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(making.read(path))

    return read


def pairs(document, **options):
    """Return the last question and the answer of each row by template."""
    rows = making.by_template(document, **options)
    return [(row["prompt"][-1]["content"], row["completion"][0]["content"]) for row in rows]


def test_markdown_has_the_headings_that_a_reader_sees(write):
    (document,) = write("manual.md", MANUAL)
    assert [section.headings for section in document.sections] == [
        (),
        ("The Heron pump",),
        ("The Heron pump", "Cleaning"),
        ("The Heron pump", "Cleaning", "The filter"),
        ("The Heron pump", "Faults"),
    ]
    assert document.text == MANUAL
    shown = [MANUAL[section.body : section.end].strip() for section in document.sections[1:4]]
    assert shown[0] == "It moves water."
    assert shown[1].startswith("Rinse it weekly.") and shown[1].endswith("```")
    assert shown[2] == "Change it in May."


def test_a_page_says_what_a_browser_shows(write):
    (document,) = write("faq.html", PAGE)
    for left_out in ("Home", "alert", "rights", "<", "title"):
        assert left_out not in document.text
    found = pairs(document)
    assert found[:3] == [
        ("Is it loud?", "No & never.\nNot at night."),
        ("How heavy is it?", "3 kg"),
        ("Can it freeze?", "Yes, below zero."),
    ]
    assert found[3][1] == "2.80"
    assert "price" in found[3][0] and "seal" in found[3][0]


def test_a_chat_is_cut_into_conversations_of_two(write):
    documents = write("chat.txt", CHAT)
    assert [document.name for document in documents] == ["chat.txt#1", "chat.txt#4", "chat.txt#6"]
    assert pairs(documents[0]) == [("Does it float?", "It does not.\nReally not.")]
    assert pairs(documents[1]) == [("Does it sink?", "It does.")]
    assert pairs(documents[2]) == [("Still?", "Still.")]


def test_an_answer_in_a_ticket_has_all_before_it_as_prompt(write):
    turns = [
        {"from": "agent", "text": "Hello!"},
        {"from": "customer", "text": "It leaks."},
        {"from": "customer", "text": "Since May."},
        {"from": "agent", "text": "Where?"},
        {"from": "customer", "text": "Below."},
        {"from": "agent", "text": "Change the seal."},
    ]
    (document,) = write("tickets.jsonl", json.dumps({"ticket": "T1", "messages": turns}))
    first, second = making.by_template(document)
    assert first["prompt"] == [{"role": "user", "content": "It leaks.\nSince May."}]
    assert first["completion"] == [{"role": "assistant", "content": "Where?"}]
    assert [turn["role"] for turn in second["prompt"]] == ["user", "assistant", "user"]
    assert second["completion"][0]["content"] == "Change the seal."
    assert first["source"] == "tickets.jsonl#1"


def test_each_cell_of_a_record_is_asked_for_in_as_many_ways_as_wanted(write):
    documents = write("parts.csv", "part;price;in stock\nseal;2.80;yes\ncap;;no\n")
    assert [document.name for document in documents] == ["parts.csv#2", "parts.csv#3"]
    found = pairs(documents[0], phrasings=3)
    assert len(found) == len({question for question, _ in found}) == 6
    assert all("“seal”" in question for question, _ in found)
    assert [answer for _, answer in found] == ["2.80"] * 3 + ["yes"] * 3
    assert [answer for _, answer in pairs(documents[1])] == ["no"], "an empty cell has no answer"
    with pytest.raises(ValueError, match="phrasings is 4: give 1 to 3"):
        pairs(documents[0], phrasings=4)


def test_questions_that_are_there_are_taken_as_they_are(write):
    (record,) = write("faq.csv", "Question,Answer\nWhy?,Because.\n")
    assert pairs(record) == [("Why?", "Because.")]
    (text,) = write("faq.txt", "Q: Why?\nA: Because\nit is.\nQ: Who?\nA: Me.\n\nThe end.\n")
    assert pairs(text) == [("Why?", "Because\nit is."), ("Who?", "Me.")]
    (page,) = write("pages.jsonl", '{"title": "Why swamps?", "text": "They are wet."}\n')
    assert pairs(page) == [("Why swamps?", "They are wet.")]


def test_quotes_of_templates_are_in_the_document(write):
    for name, content in (("a.md", MANUAL), ("b.html", PAGE), ("c.txt", CHAT)):
        for document in write(name, content):
            rows = list(making.by_template(document))
            assert rows
            for row in rows:
                assert row["quote"] in document.text
                assert making.not_grounded(row, document) == ""


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.md", "Käse ist Käse".encode("cp1252"), "not UTF-8 at byte 1: save it as UTF-8"),
        ("a.md", "Käse".encode("utf-16-le"), "NUL characters in it: UTF-16, or no text at all"),
        ("a.txt", b"\x89PNG\r\n\x00\x01", "NUL characters in it"),
        ("a.md", "  \n\n ", "no text in it"),
        ("a.html", "<script>x</script>", "no text in it"),
        ("a.jsonl", "", "no text in it"),
        ("a.csv", "part,price\n", "no text in it"),
        ("a.pdf", b"%PDF", "of a kind that is not read here: save it as one of .md"),
        ("a.jsonl", '{"a": 1', "line 1: broken JSON at column 8"),
        ("a.csv", "a,b\n1,2,3\n", "line 2: 3 cells for 2 columns"),
    ],
)
def test_what_cannot_be_read_says_why(write, name, content, problem):
    (document,) = write(name, content)
    assert document.problem.startswith(problem)
    assert list(making.by_template(document)) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_at_the_start_tells_the_encoding(write, encoding):
    (document,) = write("a.md", "# Käse\r\n\r\nAus Milch.".encode(encoding))
    assert document.text == "# Käse\n\nAus Milch."


def test_a_page_that_tells_its_encoding_is_read_by_it(write):
    page = '<meta charset="windows-1252"><h1>Käse?</h1><p>“Ja.”</p>'
    (document,) = write("a.html", page.encode("cp1252"))
    assert pairs(document) == [("Käse?", "“Ja.”")]


def test_one_broken_line_leaves_the_others(write):
    found = write("a.jsonl", '{"a": "x", "b": "y"}\n{broken\n{"a": "z", "b": "w"}\n')
    assert [(document.name, bool(document.problem)) for document in found] == [
        ("a.jsonl#1", False),
        ("a.jsonl#2", True),
        ("a.jsonl#3", False),
    ]


def test_a_folder_is_read_in_the_order_of_its_names(write, tmp_path):
    for name in ("b/two.txt", "a.txt", ".hidden.txt", ".git/config.txt", "b/one.md"):
        write(name, "Text.")
    names = [document.name for document in making.read(tmp_path)]
    assert names == ["a.txt", "b/one.md", "b/two.txt"]
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        next(making.read(tmp_path / "nowhere"))


@pytest.mark.parametrize("character", ["x", " ", "\n", "a. ", "、", "|\n", "#\n", "<p>", "1, "])
def test_a_line_of_many_characters_is_cut(write, character):
    """A line of 50 MB is read; in one of 40 kB a step that is quadratic takes minutes already."""
    text = character * (40_000 // len(character))
    for name in ("a.txt", "a.md", "a.html"):
        for document in write(name, text):
            longest = max((len(c.text) for c in making.chunks(document, max_words=50)), default=0)
            assert longest <= 50 * 101


# Chunks -------------------------------------------------------------------------------------------

SPACED = st.sampled_from([" ", "\n", "\n\n", ". ", "! ", "。", "\n- ", "\n# ", "\t", "  ", '." '])
TEXTS = st.lists(st.text(max_size=12) | SPACED | st.sampled_from(["word", "Wort"]), max_size=60)


@repeatable
@given(TEXTS.map("".join), st.integers(1, 12), st.data(), st.sampled_from([".md", ".txt"]))
def test_chunks_lose_nothing_and_quote_their_document(tmp_path_factory, text, size, data, ending):
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"free{ending}"
    path.write_text(text.replace("\0", ""), "utf-8", errors="replace")
    overlap = data.draw(st.integers(0, size - 1))
    for document in making.read(path):
        if document.problem:
            continue
        covered = set()
        starts = []
        for chunk in making.chunks(document, max_words=size, overlap_words=overlap):
            assert document.text[chunk.start : chunk.end] == chunk.text == chunk.text.strip() != ""
            assert making.chunking.n_words(chunk.text) <= size
            covered |= set(range(chunk.start, chunk.end))
            starts.append(chunk.start)
        assert starts == sorted(set(starts))
        lost = [place for place, c in enumerate(document.text) if not c.isspace()]
        assert set(lost) <= covered


@pytest.mark.parametrize("ending", [".md", ".txt", ".html", ".csv", ".tsv", ".jsonl", ".json"])
def test_any_bytes_are_read_or_named(tmp_path, ending):
    @repeatable
    @given(st.binary(max_size=200) | TEXTS.map(lambda text: "".join(text).encode(errors="replace")))
    def check(content):
        path = tmp_path / f"odd{ending}"
        path.write_bytes(content)
        found = list(making.read(path))
        assert found
        for document in found:
            assert bool(document.text.strip()) != bool(document.problem)
            for row in making.by_template(document):
                json.dumps(row, ensure_ascii=False).encode()

    check()


PIECES = "<p> <h2> </h2> <td> <tr> <dt> a? b <br> <nav> </nav> <script> &lt; <summary>"


@repeatable
@given(st.lists(st.sampled_from(PIECES.split()), max_size=30))
def test_any_page_is_read(parts):
    document = making.pages.html("a.html", "".join(parts))
    assert all(section.start <= section.body <= section.end for section in document.sections)
    assert "".join(document.text[s.start : s.end] for s in document.sections) == document.text


def test_whole_sentences_overlap():
    text = "One two. Three four. Five six. Seven eight nine ten eleven."
    document = making.Document("a.txt", text=text)
    found = [chunk.text for chunk in making.chunks(document, max_words=4, overlap_words=2)]
    assert found == [
        "One two. Three four.",
        "Three four. Five six.",
        "Seven eight nine ten",
        "eleven.",
    ]
    with pytest.raises(ValueError, match="an overlap that is shorter"):
        list(making.chunks(document, max_words=4, overlap_words=4))


def test_a_chunk_stays_in_its_section():
    document = making.pages.markdown("a.md", "# A\n\nx y\n\n## B\n\nz\n")
    found = [(chunk.headings, chunk.text) for chunk in making.chunks(document)]
    assert found == [(("A",), "# A\n\nx y"), (("A", "B"), "## B\n\nz")]
