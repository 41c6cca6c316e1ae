"""Flashcards of the chapters: shown in a notebook with folded answers, or written for Anki.

A deck is a Markdown file in `data/flashcards/`, named as its notebook. After a first line
`# Flashcards: <title of the chapter>` comes, for each card, a heading `## <id>`, a paragraph that
begins with `**Q.**`, and an answer that begins with `**A.**`.
"""

import dataclasses
import hashlib
import html
import importlib.metadata
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Card", "Deck", "decks", "load", "read", "show", "write_anki"]

FOLDER = Path(__file__).parent / "data" / "flashcards"
COURSE = "Fine-Tuning LLMs on One GPU"
TITLE = "# Flashcards: "
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MARKS = ("**Q.**", "**A.**")

STYLE = """\
.card { font: 20px/1.45 sans-serif; text-align: left; max-width: 38em; margin: 1em auto; }
code { font-size: 0.9em; }
"""


@dataclasses.dataclass(frozen=True)
class Card:
    """A question and its answer, both Markdown with formulas between dollar signs.

    Attributes:
        id: What the card is called, in every version of the course.
        question: What is asked.
        answer: What it should be, and a link to the section that says so.
    """

    id: str
    question: str
    answer: str


@dataclasses.dataclass(frozen=True)
class Deck:
    """The cards of a chapter. In a notebook it shows each question over its folded answer."""

    title: str
    cards: tuple[Card, ...]

    def __repr__(self) -> str:
        questions = [f"{i}. {card.question}" for i, card in enumerate(self.cards, start=1)]
        return "\n".join([f"{len(self.cards)} flashcards of {self.title}", *questions])

    def _repr_markdown_(self) -> str:
        return "\n\n".join(
            f"**{i}.** {card.question}\n\n"
            f"<details><summary>Answer</summary>\n\n{card.answer}\n\n</details>"
            for i, card in enumerate(self.cards, start=1)
        )


def decks() -> dict[str, str]:
    """Return the chapters that have a deck.

    Returns:
        The chapter's title, by the name of its notebook.

    Example:
        >>> decks()["03_lora"]
        '3. How little is enough?'
    """
    return {path.stem: read(path).title for path in sorted(FOLDER.glob("*.md"))}


def load(chapter: str) -> tuple[Card, ...]:
    """Return the cards of a chapter, in the order of its text.

    Args:
        chapter: The name of its notebook, such as `02_quantization`.

    Returns:
        The cards.

    Raises:
        ValueError: There is no such deck, or its file is not well formed.

    Example:
        >>> load("03_lora")[0].id
        'sixteen-bytes-a-weight'
    """
    return show(chapter).cards


def show(chapter: str) -> Deck:
    """Return the deck of a chapter; as the last line of a cell it is a self-test.

    Args:
        chapter: The name of its notebook, such as `02_quantization`.

    Returns:
        The deck, which shows itself with folded answers.

    Raises:
        ValueError: There is no such deck, or its file is not well formed.

    Example:
        >>> print(str(show("03_lora")).splitlines()[0])
        25 flashcards of 3. How little is enough?

    Each chapter has it before its references.
    """
    path = FOLDER / f"{chapter}.md"
    there = sorted(file.stem for file in FOLDER.glob("*.md"))
    if chapter not in there:
        raise ValueError(f"no deck {chapter!r}: choose one of {', '.join(there)}")
    return read(path)


def write_anki(path: "str | os.PathLike", *, repository: str | None = None) -> Path:
    """Write the cards of all chapters as one Anki package, a sub-deck for each chapter.

    Import a newer package over an older one, and your progress stays: a note is known by the id of
    its card, decks and note type by numbers that do not change.

    Args:
        path: The file to write, which ends in `.apkg`. Its folder is made.
        repository: `owner/name` on GitHub, where links to chapters lead; without it, that of the
            installed package.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: `genanki` or `mdit-py-plugins` is not installed.
        ValueError: The path has another ending, or a deck is not well formed.
    """
    path = Path(path)
    if path.suffix != ".apkg":
        raise ValueError(f"path is {str(path)!r}: Anki opens files that end in .apkg")
    site = f"https://github.com/{repository}" if repository else _repository()
    try:
        import genanki

        to_html = _renderer(site)
    except ModuleNotFoundError as error:
        needed = "to write Anki packages, pip install genanki mdit-py-plugins"
        raise ModuleNotFoundError(f"{error}; {needed}", name=error.name) from None
    template = {"qfmt": "{{Question}}", "afmt": "{{FrontSide}}<hr id=answer>{{Answer}}"}
    note_type = genanki.Model(
        _number("note type"),
        COURSE,
        fields=[{"name": "Question"}, {"name": "Answer"}],
        templates=[{"name": "Card", **template}],
        css=STYLE,
    )
    packed = []
    for file in sorted(FOLDER.glob("*.md")):
        deck = read(file)
        pack = genanki.Deck(_number(file.stem), f"{COURSE}::{deck.title}")
        for due, card in enumerate(deck.cards, start=1):
            fields = [to_html(card.question), to_html(card.answer)]
            guid = genanki.guid_for(COURSE, card.id)
            pack.add_note(genanki.Note(note_type, fields, guid=guid, tags=[file.stem], due=due))
        packed.append(pack)
    path.parent.mkdir(parents=True, exist_ok=True)
    genanki.Package(packed).write_to_file(path)  # dated now, so that Anki takes what has changed
    return path


def read(path: Path) -> Deck:
    """Return the deck of a file.

    Args:
        path: Markdown in the form that the module's docstring describes.

    Returns:
        The title and the cards.

    Raises:
        ValueError: The file is not well formed; the message names the line.
    """
    lines = path.read_text("utf-8").splitlines()
    if not lines or not lines[0].startswith(TITLE):
        raise ValueError(
            _malformed(path, 1, f"the first line must be '{TITLE}<title of the chapter>'")
        )
    starts = [i for i, line in enumerate(lines) if line.startswith("## ")]
    for i in range(1, starts[0] if starts else len(lines)):
        if lines[i].strip():
            raise ValueError(_malformed(path, i + 1, "a card begins with '## <id>'"))
    if not starts:
        raise ValueError(_malformed(path, len(lines), "the deck has no cards"))
    cards: dict[str, Card] = {}
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        card = _card(path, lines[:end], start)
        if card.id in cards:
            raise ValueError(_malformed(path, start + 1, f"the id {card.id!r} is there twice"))
        cards[card.id] = card
    return Deck(lines[0].removeprefix(TITLE).strip(), tuple(cards.values()))


def _card(path: Path, lines: list[str], start: int) -> Card:
    """Return the card whose heading is `lines[start]`, and which ends with the lines."""
    name = lines[start].removeprefix("## ").strip()
    if not ID.fullmatch(name):
        raise ValueError(
            _malformed(path, start + 1, f"the id {name!r} is not lower-case words and hyphens")
        )
    parts: dict[str, list[str]] = {}
    for i in range(start + 1, len(lines)):
        mark, rest = lines[i][:6], lines[i][6:]
        if mark in MARKS:
            if [*parts, mark] != list(MARKS[: len(parts) + 1]):
                raise ValueError(
                    _malformed(path, i + 1, f"card {name!r} is not one question and one answer")
                )
            if not rest.strip():
                raise ValueError(
                    _malformed(path, i + 1, f"nothing follows {mark} in card {name!r}")
                )
            parts[mark] = [rest]
        elif parts:
            list(parts.values())[-1].append(lines[i])
        elif lines[i].strip():
            raise ValueError(
                _malformed(path, i + 1, f"'{MARKS[0]} ...' must follow the id {name!r}")
            )
    if len(parts) < len(MARKS):
        raise ValueError(
            _malformed(path, len(lines), f"card {name!r} ends without '{MARKS[len(parts)]} ...'")
        )
    return Card(name, *("\n".join(part).strip() for part in parts.values()))


def _malformed(path: Path, line: int, what: str) -> str:
    return f"{path.name}, line {line}: {what}"


def _number(name: str) -> int:
    """Return a number for a name, always the same, in the range that Anki wants."""
    return 2**30 + int(hashlib.sha256(f"{COURSE}/{name}".encode()).hexdigest()[:7], 16)


def _repository() -> str:
    """Return the repository's address, as the installed package knows it."""
    urls = importlib.metadata.metadata("fine-tuning-on-one-gpu").get_all("Project-URL")
    return dict(url.split(", ", 1) for url in urls)["Repository"]


def _renderer(site: str) -> Callable[[str], str]:
    r"""Return what makes HTML of Markdown: formulas in \( \), links to notebooks to the site."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def as_anki(_: Any, tokens: Any, number: int, *__: Any) -> str:
        return rf"\({html.escape(tokens[number].content)}\)"

    parser = MarkdownIt("commonmark", {"html": False}).use(dollarmath_plugin)
    parser.add_render_rule("math_inline", as_anki)

    def to_html(text: str) -> str:
        tokens = parser.parse(text)
        for link in (child for token in tokens for child in token.children or ()):
            if link.type == "link_open" and "://" not in link.attrs["href"]:
                link.attrs["href"] = f"{site}/blob/main/notebooks/{link.attrs['href']}"
        return parser.renderer.render(tokens, parser.options, {}).strip()

    return to_html
