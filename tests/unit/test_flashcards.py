"""Flashcards: decks that say what the chapters say, and an Anki package that opens."""

import builtins
import html.parser
import json
import re
import sqlite3
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbconvert.filters import markdown2html

from helpers import flashcards

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
DECKS = sorted(flashcards.FOLDER.glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)#([^)\s]+)\)")
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\w)")
BOUNDS = 15, 25

# What a card makes its reader compute, computed here in another way than in the answer.
COMPUTED = {
    "footprint-by-hand": f"{(106.2e6 * 4 + 28.3e6 * 16) / 8 / 1e6:.1f}",
    "size-of-the-file": f"{4_884_480 * 32 // 8}",
    "loss-of-a-probability": "0.34",  # e to the -0.34 is 0.712: below
    "perplexity": "3.2",
    "absmax-codes": "0.8",
    "bits-of-a-larger-block": f"{(128 * 4 + 32) / 128}",
    "lora-rank-parameters": f"{2048 * 8 + 8 * 512}",
    "standing-bytes": f"{(100e6 * 4 + 1e6 * 128) / 8 / 1e6:.0f}",
    "size-of-the-logits": f"{4 * 49152 // 256}",  # a MiB is 1,024 x 256 floats
    "scores-of-a-long-row": f"{32 * 8192 // 2**16}",  # a GiB is 2**29 numbers of 2 bytes
    "bits-of-q8-0": f"{(32 * 8 + 16) / 32}",
    "mean-of-means": f"{sum([1] * 10 + [2] * 30) / 40}",
    "twos-complement": f"−{256 - 200}",
    "bits-of-mxfp4": f"{(32 * 4 + 8) / 32}",
    "norm-in-fp16": f"{2**16}",
    "smallest-update": f"{2**-14:.5f}",  # half of BF16's gap from 2**-6 to 2**-5
    "positions-of-a-packed-row": "0, 1, 2, 0, 1",
}


def plain(text: str) -> str:
    """Return a text with numbers as Python writes them: no commas for thousands."""
    return re.sub(r"(?<=\d)(?:,|\{,\})(?=\d{3})", "", text)


def numbers(text: str) -> set[float]:
    """Return the numbers of a text, as values; names such as NF4 hold none."""
    return {float(found.replace(",", "")) for found in NUMBER.findall(plain(text))}


def anchor(heading: str) -> str:
    """Return the name by which nbconvert, as Jupyter does, lets links reach a heading."""
    return html.unescape(re.search(r'id="([^"]*)"', markdown2html(heading))[1])


def sections(path: Path) -> dict[str, str]:
    """Return by anchor the text, code and outputs of each section, with those below it."""
    found: dict[str, str] = {}
    open_at: dict[int, str] = {}  # level of a heading, and its anchor
    for cell in nbformat.read(path, as_version=4).cells:
        fenced = cell.cell_type != "markdown"  # in code, a line with # is no heading
        lines = cell.source.splitlines()
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            lines += text.splitlines()
        for line in lines:
            fenced ^= line.startswith("```")
            if not fenced and (heading := re.match(r"#+ ", line)):
                level = len(heading[0])
                open_at = {n: name for n, name in open_at.items() if n < level}
                open_at[level] = anchor(line)
            for name in open_at.values():
                found[name] = found.get(name, "") + line + "\n"
    return found


ALL_SECTIONS = {path.name: sections(path) for path in NOTEBOOKS.glob("*.ipynb")}


def problems(path: Path) -> list[str]:
    """Return what is wrong with a deck, a line each."""
    deck = flashcards.read(path)
    found = []
    if not BOUNDS[0] <= len(deck.cards) <= BOUNDS[1]:
        found.append(f"{len(deck.cards)} cards, not {BOUNDS[0]} to {BOUNDS[1]}")
    for card in deck.cards:
        links = LINK.findall(card.answer)
        if not links:
            found.append(f"{card.id}: no link to a section")
        read = ""
        for notebook, name in links:
            if notebook not in ALL_SECTIONS:
                found.append(f"{card.id}: no notebook {notebook}")
            elif name not in ALL_SECTIONS[notebook]:
                found.append(f"{card.id}: {notebook} has no heading #{name}")
            else:
                read += ALL_SECTIONS[notebook][name]
        claimed = re.sub(r"\$[^$]+\$", "", LINK.sub("", card.answer))  # formulas: see COMPUTED
        for number in sorted(numbers(claimed) - numbers(read) - numbers(card.question)):
            found.append(f"{card.id}: {number:g} stands in no section that it links to")
        if card.question.count("$") % 2 or card.answer.count("$") % 2:
            found.append(f"{card.id}: a dollar sign without its partner")
        if "?" not in card.question and not re.search(r"\bfor each\b|\bwhat\b", card.question):
            found.append(f"{card.id}: asks nothing")
    return found


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.stem)
def test_deck_is_well_kept(path):
    assert problems(path) == []
    title = nbformat.read(NOTEBOOKS / f"{path.stem}.ipynb", as_version=4).cells[0].source
    assert title.splitlines()[0] == f"# {flashcards.decks()[path.stem]}"


def test_ids_are_unique_over_all_decks():
    ids = [card.id for path in DECKS for card in flashcards.load(path.stem)]
    assert len(set(ids)) == len(ids) >= 7 * BOUNDS[0]
    assert all(re.fullmatch("[a-z0-9]+(?:-[a-z0-9]+)*", name) for name in ids)


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_answers(name):
    cards = [card for path in DECKS for card in flashcards.load(path.stem) if card.id == name]
    (card,) = cards
    assert re.search(rf"(?<![\d.]){re.escape(COMPUTED[name])}(?![\d.]*\d)", plain(card.answer))


def test_formulas_with_a_result_are_computed_here_too():
    """An answer with an equation of numbers is checked by COMPUTED, and cannot be forgotten."""
    for path in DECKS:
        for card in flashcards.load(path.stem):
            if re.search(r"\$[^$]*\d[^$]*(?:=|\\approx)[^$]*\d\$", card.answer):
                assert card.id in COMPUTED


def test_the_rounded_ones_are_right():
    assert abs(2.718281828**-0.34 - 0.712) < 0.001
    assert round(2.718281828**3.2) == 25


def planted(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """Return a copy of a deck with something changed."""
    text = (flashcards.FOLDER / "03_lora.md").read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (path := tmp_path / "planted.md").write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" [Chapter 3](03_lora.ipynb#3.-How-little-is-enough?)", "", "no link to a section"),
        (
            "#1.-Two-skinny-matrices",
            "#1.-Two-skinny",
            "03_lora.ipynb has no heading #1.-Two-skinny",
        ),
        ("(03_lora.ipynb#1", "(3_lora.ipynb#1", "no notebook 3_lora.ipynb"),
        ("had 10 to 100 times", "had 17 to 100 times", "17 stands in no section"),
        ("loss was 0.069", "loss was 0.069e-3", "6.9e-05 stands in no section"),
        ("the rank $r$", "the rank $r", "a dollar sign without its partner"),
        ("What is the intrinsic dimension of a task?", "Intrinsic dimension.", "asks nothing"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, old, new, message):
    assert problems(planted(tmp_path)) == []
    assert any(message in line for line in problems(planted(tmp_path, (old, new))))


def test_decks_too_short_or_too_long_are_found(tmp_path):
    title, *cards = (flashcards.FOLDER / "03_lora.md").read_text("utf-8").split("\n## ")
    (path := tmp_path / "short.md").write_text("\n## ".join([title, *cards[:14]]), "utf-8")
    assert problems(path) == ["14 cards, not 15 to 25"]
    more = [f"more-{i}\n\n**Q.** Why?\n\n**A.** {LINKED}\n" for i in range(26 - len(cards))]
    path.write_text("\n## ".join([title, *cards, *more]), "utf-8")
    assert problems(path) == ["26 cards, not 15 to 25"]


LINKED = "[Chapter 3](03_lora.ipynb#1.-Two-skinny-matrices)"
GOOD = "# Flashcards: A chapter\n\n## one\n\n**Q.** Why?\n\n**A.** Because.\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the first line must be"),
        (GOOD.replace("# Flash", "#Flash"), "line 1: the first line must be"),
        ("# Flashcards: A chapter\n\n", "line 2: the deck has no cards"),
        (GOOD.replace("\n\n##", "\n\nHello.\n\n##"), "line 3: a card begins with '## <id>'"),
        (GOOD.replace("## one", "## One"), "line 3: the id 'One' is not lower-case"),
        (GOOD.replace("## one", "## one two"), "line 3: the id 'one two' is not lower-case"),
        (GOOD + GOOD[24:], "line 9: the id 'one' is there twice"),
        (GOOD.replace("**A.** Because.\n", ""), "line 6: card 'one' ends without '**A.** ...'"),
        (GOOD.replace("**Q.** Why?\n\n", ""), "line 5: card 'one' is not one question and one"),
        (GOOD + "\n**A.** Or so.\n", "line 9: card 'one' is not one question and one answer"),
        (GOOD.replace("**Q.**", "Well:\n**Q.**"), "line 5: '**Q.** ...' must follow the id 'one'"),
        (GOOD.replace(" Because.", ""), "line 7: nothing follows **A.** in card 'one'"),
    ],
)
def test_malformed_decks_are_refused(tmp_path, monkeypatch, text, message):
    (tmp_path / "broken.md").write_text(text, "utf-8")
    monkeypatch.setattr(flashcards, "FOLDER", tmp_path)
    for call in (lambda: flashcards.load("broken"), flashcards.decks):
        with pytest.raises(ValueError, match=re.escape(f"broken.md, {message}")):
            call()


def test_a_good_deck_is_read(tmp_path, monkeypatch):
    answer = "Two things:\n\n- `a $ b`\n- $x$"
    text = GOOD.replace("Because.", answer) + "\n## two\n**Q.** And\nwhy? \n**A.** So."
    (tmp_path / "good.md").write_text(text, "utf-8")
    monkeypatch.setattr(flashcards, "FOLDER", tmp_path)
    assert flashcards.decks() == {"good": "A chapter"}
    assert flashcards.load("good") == (
        flashcards.Card("one", "Why?", answer),
        flashcards.Card("two", "And\nwhy?", "So."),
    )


def test_an_unknown_chapter_is_told_which_there_are():
    for name in ("99_troubleshooting", "", "../../../README", "02_quantization.md"):
        with pytest.raises(ValueError, match="choose one of 00_tldr, 01_language_models, 02_quant"):
            flashcards.show(name)


class Folded(html.parser.HTMLParser):
    """Tell apart the text that is folded away and the text that is not."""

    def __init__(self):
        super().__init__()
        self.depth, self.in_summary, self.seen, self.folded = 0, False, "", ""

    def handle_starttag(self, tag, attributes):  # noqa: D102
        self.depth += tag == "details"
        self.in_summary |= tag == "summary"

    def handle_endtag(self, tag):  # noqa: D102
        self.depth -= tag == "details"
        self.in_summary &= tag != "summary"

    def handle_data(self, data):  # noqa: D102
        if self.depth and not self.in_summary:
            self.folded += data
        else:
            self.seen += data


def test_answers_are_folded_and_questions_are_not():
    """Read the HTML that nbconvert makes of the output, as GitHub and the site do."""
    for path in DECKS:
        deck = flashcards.show(path.stem)
        page = Folded()
        page.feed(markdown2html(deck._repr_markdown_()))
        assert page.depth == 0 and page.seen.count("Answer\n") == len(deck.cards)
        for card in deck.cards:
            asked = max(re.split(r"[`$*]", card.question), key=len)
            assert asked in page.seen and asked not in page.folded
            answer = max(re.split(r"[`$*]", LINK.sub("$", card.answer)), key=len)
            assert answer in page.folded and answer not in page.seen


def test_the_text_is_the_same_each_time_and_holds_no_answer():
    text = repr(flashcards.show("02_quantization"))
    assert text == repr(flashcards.show("02_quantization"))
    cards = flashcards.load("02_quantization")
    assert text.splitlines()[0] == f"{len(cards)} flashcards of 2. What do fewer bits cost?"
    assert text.splitlines()[1] == f"1. {cards[0].question}"
    assert not any(card.answer in text for card in cards)


def collection(package: Path, folder: Path) -> sqlite3.Connection:
    """Return the database in an Anki package."""
    with zipfile.ZipFile(package) as archive:
        assert sorted(archive.namelist()) == ["collection.anki2", "media"]
        assert json.loads(archive.read("media")) == {}
        return sqlite3.connect(archive.extract("collection.anki2", folder))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """An Anki package of all chapters, opened."""
    folder = tmp_path_factory.mktemp("anki")
    file = flashcards.write_anki(folder / "new" / "cards.apkg", repository="someone/fork")
    opened = collection(file, folder)
    yield opened
    opened.close()


def test_the_package_is_a_sound_collection(package):
    assert package.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (models, decks), *others = package.execute("SELECT models, decks FROM col").fetchall()
    (model,) = json.loads(models).values()
    assert others == [] and [field["name"] for field in model["flds"]] == ["Question", "Answer"]
    named = {deck["name"]: int(number) for number, deck in json.loads(decks).items()}
    named.pop("Default")
    titles = flashcards.decks().values()
    assert list(named) == [f"Fine-Tuning LLMs on One GPU::{title}" for title in titles]
    cards = package.execute("SELECT nid, did, ord, due FROM cards ORDER BY id").fetchall()
    notes = package.execute("SELECT id, mid, tags FROM notes ORDER BY id").fetchall()
    assert [card[0] for card in cards] == [note[0] for note in notes]  # one card a note
    assert {note[1] for note in notes} == {int(model["id"])}
    expected = [
        (named[f"Fine-Tuning LLMs on One GPU::{title}"], 0, place + 1, f" {stem} ")
        for stem, title in flashcards.decks().items()
        for place in range(len(flashcards.load(stem)))
    ]
    found = [(*card[1:], note[2]) for card, note in zip(cards, notes, strict=True)]
    assert found == expected


def test_notes_hold_the_cards(package):
    rows = package.execute("SELECT flds FROM notes ORDER BY id").fetchall()
    notes = [fields.split("\x1f") for (fields,) in rows]
    cards = [card for path in DECKS for card in flashcards.load(path.stem)]
    for note, card in zip(notes, cards, strict=True):
        for field, text in zip(note, (card.question, card.answer), strict=True):
            assert field.count(r"\(") == field.count(r"\)") == text.count("$") / 2
            assert "$" not in field and "**" not in field and ".ipynb)" not in field
            read = Folded()
            read.feed(field)  # the letters are those of the card, without its marks
            marks = r"\]\([^)]*\)|\\\(|\\\)|[^\w]"
            assert re.sub(marks, "", read.seen) == re.sub(marks, "", text)
    by_id = {card.id: note for card, note in zip(cards, notes, strict=True)}
    assert r"<p>\(y = Wx + \frac{\alpha}{r} BAx\), with \(A\)" in by_id["lora-formula"][1]
    assert "<code>{% generation %}</code>" in by_id["every-answer-no-question"][1]
    address = (
        "https://github.com/someone/fork/blob/main/notebooks/03_lora.ipynb#1.-Two-skinny-matrices"
    )
    assert f'<a href="{address}">Chapter 3, section 1</a>' in by_id["lora-formula"][1]


def test_html_of_what_decks_may_hold():
    to_html = flashcards._renderer("https://example.org/a/b")
    assert to_html(r"$a_1 < b_2$ and $\tilde{x}_*$, **but** `$PATH $HOME`") == (
        r"<p>\(a_1 &lt; b_2\) and \(\tilde{x}_*\), "
        r"<strong>but</strong> <code>$PATH $HOME</code></p>"
    )
    assert to_html("For 5 $. <|end|> <b>") == "<p>For 5 $. &lt;|end|&gt; &lt;b&gt;</p>"
    assert to_html("- [a](https://x.org/y)\n- [b](c.ipynb#d)") == (
        '<ul>\n<li><a href="https://x.org/y">a</a></li>\n'
        '<li><a href="https://example.org/a/b/blob/main/notebooks/c.ipynb#d">b</a></li>\n</ul>'
    )


def test_two_builds_are_the_same_notes(tmp_path, package):
    """Anki knows notes by their guid: were it new in each build, readers would have all twice."""
    again = flashcards.write_anki(tmp_path / "again.apkg", repository="another/fork")
    opened = collection(again, tmp_path)
    old, new = (db.execute("SELECT guid, mid FROM notes").fetchall() for db in (package, opened))
    assert old == new and len(set(old)) == len(old)
    for column in ("decks", "models"):
        one, other = (
            json.loads(db.execute(f"SELECT {column} FROM col").fetchone()[0])
            for db in (package, opened)
        )
        assert one.keys() == other.keys()
    opened.close()


def test_numbers_never_change(package):
    """What Anki knows decks, notes and note type by; a reader's progress hangs on these."""
    decks, models = package.execute("SELECT decks, models FROM col").fetchone()
    (lora,) = [number for number, deck in json.loads(decks).items() if "::3. " in deck["name"]]
    (note,) = package.execute("SELECT guid FROM notes WHERE sfld LIKE '%LoRA compute%'").fetchone()
    assert (lora, note, list(json.loads(models))) == ("1224807868", "45VcbAVu#", ["1199483758"])


def test_a_guid_follows_the_id_alone(tmp_path, monkeypatch):
    found = []
    for question, name in (("Why?", "one"), ("Why so?", "one"), ("Why?", "two")):
        text = GOOD.replace("Why?", question).replace("## one", f"## {name}")
        (tmp_path / "deck.md").write_text(text, "utf-8")
        monkeypatch.setattr(flashcards, "FOLDER", tmp_path)
        opened = collection(flashcards.write_anki(tmp_path / "x.apkg"), tmp_path)
        found.append(opened.execute("SELECT guid FROM notes").fetchone()[0])
        opened.close()
    assert found[0] == found[1] != found[2]


def test_links_lead_to_the_installed_repository(tmp_path):
    opened = collection(flashcards.write_anki(tmp_path / "x.apkg"), tmp_path)
    (fields,) = opened.execute("SELECT flds FROM notes").fetchone()
    assert f'href="{flashcards._repository()}/blob/main/notebooks/00_tldr.ipynb#' in fields
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", flashcards._repository())
    opened.close()


def test_a_path_that_anki_would_not_open_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cards.zip': Anki opens files that end in .apkg"):
        flashcards.write_anki(tmp_path / "cards.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["genanki", "markdown_it", "mdit_py_plugins.dollarmath"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=f"'{missing}'; .* pip install genanki mdit"):
        flashcards.write_anki(tmp_path / "x.apkg")


def test_numbers_are_told_from_names():
    assert numbers("NF4, FP16 and LLM.int8 take 4.127 bits, 1,076.1 MB, 2e-5, a 512th.") == {
        4.127,
        1076.1,
        2e-5,
    }
    assert numbers("shape (1536, 576), 73%, [16, 14]") == {1536, 576, 73, 16, 14}


def test_sections_hold_what_stands_below_them():
    (path,) = NOTEBOOKS.glob("02_*.ipynb")
    found = ALL_SECTIONS[path.name]
    title = "2.-What-do-fewer-bits-cost?"
    assert list(found)[:4] == [title, "Setup", "The-short-version", "The-road-so-far"]
    holding = [name for name, text in found.items() if "mine: error" in text]
    assert holding == [title, "11.-Exercises", "Lab:-Your-own-format"]
