"""Pages: Markdown and HTML with their headings, and plain text."""

import itertools
import re
from html.parser import HTMLParser

from onegpu.making.documents import Document, Heading, sections_of

__all__ = ["html", "markdown", "plain"]

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
MARKUP = re.compile(r"[*`]|(?<!\w)_|_(?!\w)|\[(?=[^\]]*\]\()|\]\([^)]*\)")  # within a heading
NOT_READ = {"script", "style", "template", "noscript", "title", "nav", "footer"}
LEVELS = {**{f"h{level}": level for level in range(1, 7)}, "dt": 7, "summary": 7}
LINES = {"li", "dd", "br", "hr", "tr", "caption", "option"}  # begin a line
PARAGRAPHS = {
    *("p", "div", "section", "article", "main", "header", "aside", "body", "form", "figure"),
    *("ul", "ol", "dl", "table", "details", "blockquote", "pre"),
}


def plain(name: str, text: str) -> Document:
    """Return a text without headings."""
    return Document(name, text=text, sections=sections_of(text, []))


def markdown(name: str, text: str) -> Document:
    """Return a text in Markdown, with its headings; those in code and in quotations are none."""
    from markdown_it import MarkdownIt

    front = FRONT_MATTER.match(text)
    skipped = front.end() if front else 0
    starts = [skipped]  # of each line
    for line in text[skipped:].split("\n"):
        starts.append(min(starts[-1] + len(line) + 1, len(text)))
    tokens = MarkdownIt("commonmark").disable("inline").parse(text[skipped:])
    headings = []
    for token, inside in itertools.pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            first, last = token.map
            title = " ".join(MARKUP.sub("", inside.content).split())
            headings.append(Heading(int(token.tag[1]), title, starts[first], starts[last]))
    return Document(name, text=text, sections=sections_of(text, headings))


def html(name: str, page: str) -> Document:
    """Return what a page of HTML shows, with its headings; menus and footers are left out.

    Terms of a list and summaries of folded parts count as headings, and rows of a table are written
    between bars, as in Markdown.
    """
    parser = _Page(page)
    parser.feed(page)
    parser.close()
    parser.end_line()
    text = "\n".join(parser.lines).rstrip()
    return Document(name, text=text, sections=sections_of(text, parser.headings))


class _Page(HTMLParser):
    """Collects the lines that a page shows; it has no tree, so that no depth is too much for it."""

    def __init__(self, page: str):
        super().__init__()
        self.lines: list[str] = []
        self.headings: list[Heading] = []
        self._page = page.lower()
        self._hidden = ""  # the tag that hides what comes, up to its end
        self._level = 0  # of the heading that is open
        self._line: list[str] = []
        self._place = 0  # of the line in the text

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if self._hidden:
            return
        if tag in NOT_READ and f"</{tag}" in self._page:
            self._hidden = tag
        elif tag in LEVELS or tag in PARAGRAPHS:
            self.end_line(blank=True)
            self._level = LEVELS.get(tag, 0)
        elif tag in LINES and self._level:
            self._line.append(" ")  # within a heading
        elif tag in LINES:
            self.end_line()
            self._line += ["|"] * (tag == "tr")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden = "" if tag == self._hidden else self._hidden
        elif tag in LEVELS or tag in PARAGRAPHS:
            self.end_line(blank=True)
        elif tag in LINES and not self._level:
            self.end_line()
        elif tag in ("td", "th"):
            self._line.append(" | ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._line.append(data)

    def end_line(self, *, blank: bool = False) -> None:
        """End a line, if there is one; with an empty one behind it where a paragraph ends."""
        text = " ".join("".join(self._line).split())
        self._line = []
        if text:
            if self._level:
                end = self._place + len(text)
                self.headings.append(Heading(self._level, text, self._place, end))
            self._add(text)
        if blank:
            self._level = 0
            if self.lines and self.lines[-1]:
                self._add("")

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self._place += len(line) + 1
