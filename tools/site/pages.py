"""Turn the course's files into the pages of the site: links, figures, buttons, the error index.

Everything here takes text or a notebook and returns a new one; `build` reads and writes.
"""

import copy
import html
import posixpath
import re
from collections.abc import Callable, Iterable

LINK = re.compile(r"\]\(([^()\s#]+)(#[^()\s]*)?\)")
BADGE = re.compile(r"\[!\[([^\]]+)\]\([^)]*/colab-badge\.svg\)\]\(([^)]+)\)")
CAPTION = re.compile(r"\A\*(Figure \w+\.\d+\. .+)\*$\n*", re.MULTILINE)
HEADING = re.compile(r"^#+ ", re.MULTILINE)
BESIDE = re.compile(r"\]\((\w+)\.ipynb(?=[)#])")
# Findings link to the site itself: on the site such a link needs no address.
ON_THE_SITE = re.compile(r"""(?<=href=["'])https://[\w.-]+\.github\.io/[\w.-]+/notebooks/""")
STORED_LINK = re.compile(r"""(?<=href=["'])([\w/.]+)\.ipynb(?=["'#])""")
TROUBLE = re.compile(r"^### (\S+)\n\n\*\*(.+)\*\*$", re.MULTILINE)
BUTTONS = """\
<p class="course-buttons"><a href="{colab}">Open in Colab</a>
<a href="../_sources/notebooks/{notebook}" download>Download this notebook</a></p>"""
SETUP = "## Setup\n"
FOLD = "\n<details><summary>Show setup</summary>\n\n"


def slug(title: str) -> str:
    """Return the name of a heading in links, as Jupyter makes it.

    Example:
        >>> slug("2. Where the memory goes")
        '2.-Where-the-memory-goes'
    """
    return title.strip().replace(" ", "-")


def plain(markdown: str) -> str:
    """Return a line of Markdown without its marks, for alt text.

    Example:
        >>> plain("The *rank* of `A`, see [LoRA](03_lora.ipynb): $r$")
        'The rank of A, see LoRA: r'
    """
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", markdown)
    return re.sub(r"[*`$]", "", text)


def links_on_site(text: str, *, page: str, elsewhere: Callable[[str], str | None]) -> str:
    """Point a page's links to pages and files of the site, or else to the repository.

    Args:
        text: Markdown.
        page: Path of the page in the repository, such as `notebooks/00_tldr.ipynb`.
        elsewhere: Gives the address of a path of the repository that the site does not hold, and
            None for any other text.
    """
    folder = posixpath.dirname(page)

    def rewritten(match: re.Match) -> str:
        target, anchor = match[1], match[2] or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        if re.match(r"[a-z]+:", target):
            return match[0]
        if path == "README.md":
            return f"]({posixpath.relpath('index.md', folder or '.')}{anchor})"
        address = elsewhere(path)
        return f"]({address}{anchor})" if address else match[0]

    return LINK.sub(rewritten, text)


def from_notebooks(text: str, *, folder: str, suffix: str = ".ipynb") -> str:
    """Lead links that are written as from beside the notebooks to where these lie.

    Example:
        >>> from_notebooks("[LoRA](03_lora.ipynb#6.-Where)", folder="../notebooks/")
        '[LoRA](../notebooks/03_lora.ipynb#6.-Where)'
    """
    return BESIDE.sub(rf"]({folder}\1{suffix}", text)


def without_badges(text: str) -> str:
    """Replace badges, which are pictures on another host, by links."""
    return BADGE.sub(r'[Open in Colab](\2){title="\1"}', text)


def notebook_page(notebook, *, name: str, rewrite: Callable[[str], str]):
    """Return a copy of a notebook as the site shows it.

    Args:
        notebook: An executed notebook.
        name: Its file name.
        rewrite: Rewrites the links of a Markdown cell.

    Returns:
        The notebook with buttons for its badge and its setup folded. A figure's caption is part of
        the figure, and its alt text where it has none. Links in stored outputs name pages.
    """
    page = copy.deepcopy(notebook)
    previous, kept = None, []
    for cell in page.cells:
        if "badge" in cell.metadata.get("tags", []):
            colab = html.escape(BADGE.fullmatch(cell.source)[2])
            cell.source = BUTTONS.format(colab=colab, notebook=html.escape(name))
        elif cell.cell_type == "markdown":
            if previous is not None and (caption := CAPTION.match(cell.source)):
                previous.metadata["mystnb"] = {
                    "image": image_options(previous, caption=caption[1]),
                    "figure": {"caption": rewrite(caption[1])},
                }
                cell.source = cell.source[caption.end() :]
            cell.source = rewrite(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                beside = ON_THE_SITE.sub("", data["text/html"])
                data["text/html"] = STORED_LINK.sub(r"\1.html", beside)
            if "text/markdown" in data:
                data["text/markdown"] = from_notebooks(
                    data["text/markdown"], folder="", suffix=".html"
                )
        has_figure = any("image/png" in o.get("data", {}) for o in cell.get("outputs", []))
        previous = cell if has_figure else None
        if cell.source.strip():
            kept.append(cell)
    page.cells = kept
    fold_setup(page)
    return page


def image_options(cell, *, caption: str) -> dict[str, str]:
    """Return alt text and width of a cell's picture, as stored with it.

    Args:
        cell: A code cell that shows a picture.
        caption: Its caption in Markdown, the alt text of a picture that has none.
    """
    stored = {}
    for output in cell.outputs:
        stored.update(output.get("metadata", {}).get("image/png", {}))
    options = {"alt": stored.get("alt") or plain(caption)}
    if "width" in stored:  # half of its pixels: it is drawn for sharp screens
        options["width"] = f"{stored['width']}px"
    return options


def fold_setup(page) -> None:
    """Fold the section Setup of a notebook, up to the next heading, so that it opens with its idea.

    Args:
        page: A notebook. It is changed in place.
    """
    folding = False
    for cell in page.cells:
        if cell.cell_type != "markdown":
            continue
        text = f"{cell.source}\n"
        if folding and (heading := HEADING.search(text)):
            cell.source = f"{text[: heading.start()]}</details>\n\n{text[heading.start() :]}"
            return
        if text.startswith(SETUP):
            cell.source, folding = text.replace(SETUP, SETUP + FOLD, 1), True


def troubles(notebook) -> list[tuple[str, str]]:
    """Return the heading and the first line, in Markdown, of each trouble of Troubleshooting."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return TROUBLE.findall(text)


def error_index(found: Iterable[tuple[str, str]], *, page: str) -> str:
    """Return the index of errors: messages by the alphabet, then what raises no error.

    Args:
        found: Headings and first lines, as `troubles` returns them.
        page: Path from the index to the page that has the headings.
    """
    messages, silent = [], []
    for heading, line in found:
        entry = (plain(line).strip().lower(), f"- {line}  \n  [{heading}]({page}#{heading})")
        if line.startswith("`") and "No error" not in line:
            messages.append(entry)
        else:
            silent.append(entry)
    return "\n".join(
        [
            "# Index of errors",
            "",
            f"Every message and every silent failure that [Troubleshooting]({page}) treats. "
            "Use the search, or your browser's, for words of your message. "
            "Without a message, start at [the second list](#what-raises-no-error).",
            "",
            "## Messages",
            "",
            *(line for _, line in sorted(messages)),
            "",
            "## What raises no error",
            "",
            *(line for _, line in sorted(silent)),
            "",
        ]
    )


def title_of(notebook) -> str:
    """Return the first heading of a notebook."""
    return re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]


def code_of(notebook) -> str:
    """Return the code of a notebook, its cells one after the other."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def glossary_page(text: str) -> str:
    """Return the glossary with its terms in order, as Sphinx's own glossary.

    Args:
        text: A heading and an introduction, then blocks of a term and a line `: meaning`.

    Raises:
        ValueError: A term is there twice, or has no meaning.
    """
    heading, opening, *blocks = re.split(r"\n{2,}", text.strip())
    entries = {}
    for block in blocks:
        term, _, meaning = block.partition("\n: ")
        if not meaning:
            raise ValueError(f"{block[:60]!r} has no line that begins with ': '")
        if term in entries:
            raise ValueError(f"the glossary explains {term!r} twice: remove one")
        entries[term] = " ".join(meaning.split())
    lines = [f"{term}\n  {entries[term]}\n" for term in sorted(entries, key=str.lower)]
    return "\n\n".join([heading, opening, "```{glossary}\n" + "\n".join(lines) + "```\n"])
