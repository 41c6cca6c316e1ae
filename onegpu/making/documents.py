"""One document, as every reader yields it."""

import dataclasses

__all__ = ["NO_TEXT", "Document", "Heading", "Section", "sections_of"]

NO_TEXT = "no text in it"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a document, from its heading up to the next one.

    Attributes:
        headings: Those that it is under, the outermost first; none before the first heading.
        start: Where its heading begins in the document's text.
        body: Where its passage begins.
        end: Where both end.
    """

    headings: tuple[str, ...]
    start: int
    body: int
    end: int


@dataclasses.dataclass(frozen=True)
class Document:
    """What rows are made from: a page, a record of a table, or a conversation.

    Attributes:
        name: Its file, as seen from the folder; of a record or a conversation also the line, such
            as `"parts.csv#3"`.
        kind: `"text"`, `"record"` or `"thread"`.
        text: All of it, with a line feed as line break; what quotes are taken from.
        sections: Of a text: they follow one another without a gap.
        turns: Of a thread: who speaks, and what is said.
        cells: Of a record: its columns and what they hold.
        problem: Why it cannot be used; empty where it can.
    """

    name: str
    kind: str = "text"
    text: str = ""
    sections: tuple[Section, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()
    cells: tuple[tuple[str, str], ...] = ()
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading: how deep it is, its words, and where it begins and ends in the text."""

    level: int
    title: str
    start: int
    end: int


def sections_of(text: str, headings: list[Heading]) -> tuple[Section, ...]:
    """Cut a text at its headings.

    Args:
        text: The whole text.
        headings: In the order in which they come.

    Returns:
        The sections, each with the headings that it is under.
    """
    first = headings[0].start if headings else len(text)
    found = [Section((), 0, 0, first)] if first else []
    path: list[Heading] = []
    ends = [*(heading.start for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):  # without headings there is one end
        path = [outer for outer in path if outer.level < heading.level] + [heading]
        titles = tuple(outer.title for outer in path)
        found.append(Section(titles, heading.start, heading.end, end))
    return tuple(found)
