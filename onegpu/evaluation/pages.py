"""A page of text and tables, as Markdown and as an HTML file that needs nothing else."""

import dataclasses
import html
import re
import unicodedata

from onegpu.evaluation.intervals import interval

__all__ = ["Page", "Section", "Share", "Table", "to_html", "to_markdown"]

STYLE = """\
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #555; --paper: #fff; --line: #ccd3da;
  --box: #eaf3fa; --mark: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #b4b4b4; --paper: #16181b;
  --line: #434a52; --box: #1d2c38; --mark: #56b4e9; } }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 52rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.lead { background: var(--box); border-left: .3rem solid var(--mark); padding: .1rem 1rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 600; min-width: 5rem; }
th, td { overflow-wrap: break-word; }
.texts { table-layout: fixed; } .texts th:first-child { width: 30%; max-width: 9rem; }
.texts td, .texts th { overflow-wrap: anywhere; } .texts td { white-space: pre-wrap; }
td:has(svg) { white-space: nowrap; }
svg { display: block; width: 8rem; height: .8rem; }
svg .all { stroke: var(--line); } svg .some { stroke: var(--mark); stroke-width: 3; }
svg circle { fill: var(--mark); }"""
# No script, no font, no picture of anywhere: what an answer holds can't load anything either.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$])")  # what Markdown, and GitHub's, takes for a mark
LIST_MARK = re.compile(r"^(\d*)([.)#+=-])")  # what makes a list or a heading of a line


@dataclasses.dataclass(frozen=True)
class Share:
    """So many of so many: shown with its exact 95 % interval.

    Attributes:
        n_right: How many.
        n: Of how many.
    """

    n_right: int
    n: int

    def __str__(self) -> str:
        low, high = (100 * end for end in interval(self.n_right, self.n))
        return f"{self.n_right:,} of {self.n:,} ({low:.0f} to {high:.0f} %)"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first cell of a row says what the row is about.

    Attributes:
        head: Of each column.
        rows: As many cells each.
        of_texts: Whether the cells hold long texts, which must wrap, rather than numbers.
    """

    head: tuple[str, ...]
    rows: list[tuple[str | Share, ...]]
    of_texts: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        text: A paragraph below the heading.
        tables: What follows it.
    """

    title: str
    text: str
    tables: list[Table]


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: Its heading.
        lead: What it says in a sentence or some: a paragraph each.
        sections: Its parts.
    """

    title: str
    lead: list[str]
    sections: list[Section]


def to_markdown(page: Page) -> str:
    """Return a page as GitHub's Markdown.

    Args:
        page: Of texts that may hold anything.

    Returns:
        The text, which ends in a newline.
    """
    blocks = [f"# {_inline(page.title)}", *(_paragraph(text) for text in page.lead)]
    for section in page.sections:
        blocks += [f"## {_inline(section.title)}", _paragraph(section.text)]
        blocks += [_markdown_table(table) for table in section.tables]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _markdown_table(table: Table) -> str:
    rows = [table.head, tuple("---" for _ in table.head), *table.rows]
    lines = [" | ".join(_inline(str(cell)) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _paragraph(text: str) -> str:
    return LIST_MARK.sub(r"\1\\\2", _inline(text))


def _inline(text: str) -> str:
    """Return a text of which no character is a mark of Markdown, in one line."""
    lines = _visible(text).strip().split("\n")
    return "<br>".join(SPECIAL.sub(r"\\\1", line) for line in lines)


def _visible(text: str) -> str:
    """Return a text in which what no page can hold, such as a zero byte, is an escape."""
    lines = "\n".join(text.splitlines())
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"
        else character
        for character in lines
    )


def to_html(page: Page) -> str:
    """Return a page as HTML that loads nothing, is read on a phone too, and in the dark.

    Args:
        page: Of texts that may hold anything.

    Returns:
        The text of a file.
    """
    title, lead = _escaped(page.title), "".join(f"<p>{_escaped(text)}</p>" for text in page.lead)
    body = "".join(_html_section(section) for section in page.sections)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{title}</title>
<style>
{STYLE}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<div class="lead">{lead}</div>
{body}</main>
</body>
</html>
"""


def _html_section(section: Section) -> str:
    text = f"<p>{_escaped(section.text)}</p>\n" if section.text else ""
    tables = "\n".join(_html_table(table, section.title) for table in section.tables)
    return f"<section>\n<h2>{_escaped(section.title)}</h2>\n{text}{tables}\n</section>\n"


def _html_table(table: Table, label: str) -> str:
    head = "".join(f'<th scope="col">{_escaped(cell)}</th>' for cell in table.head)
    rows = "".join(
        f'<tr><th scope="row" dir="auto">{_html_cell(name)}</th>'
        + "".join(f'<td dir="auto">{_html_cell(cell)}</td>' for cell in cells)
        + "</tr>\n"
        for name, *cells in table.rows
    )
    kind = ' class="texts"' if table.of_texts else ""
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{_escaped(label)}">'
        f"<table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>"
    )


def _html_cell(cell: str | Share) -> str:
    if isinstance(cell, str):
        return _escaped(cell)
    low, high = (100 * end for end in interval(cell.n_right, cell.n))
    return (
        f'{cell}<svg viewBox="-4 0 108 10" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="all" x1="0" x2="100" y1="5" y2="5"/>'
        f'<line class="some" x1="{low:.1f}" x2="{high:.1f}" y1="5" y2="5"/>'
        f'<circle cx="{100 * cell.n_right / cell.n:.1f}" cy="5" r="3.5"/></svg>'
    )


def _escaped(text: str) -> str:
    return html.escape(_visible(text))
