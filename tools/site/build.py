"""Build the course as static pages from the stored outputs: the work of `make site`.

usage: python -m tools.site.build [OUTPUT]    (default: _build/html)
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from helpers import flashcards
from tools import links
from tools.site import decks as deck_pages
from tools.site import pages, reference

ROOT = Path(__file__).resolve().parents[2]
TROUBLESHOOTING = "99_troubleshooting"
PAGES = ("FAQ.md", "AppendixA.md")  # shown where they exist
CARRIED = ("images", "helpers/data/records")  # folders whose files the pages link to


def gather(source: Path, *, decks: Path = flashcards.FOLDER) -> None:
    """Write the pages of the site, in Markdown and notebooks, into a new folder.

    Args:
        source: The folder; what is in it is deleted.
        decks: Folder of the flashcards; it may be missing.
    """
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    for folder in CARRIED:
        shutil.copytree(ROOT / folder, source / folder)
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    extra = [name for name in PAGES if (ROOT / name).exists()]
    titles, code = {}, {}
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        titles[path.stem] = pages.title_of(notebook)
        code[path.stem] = pages.code_of(notebook)
        where = f"notebooks/{path.name}"
        page = pages.notebook_page(
            notebook,
            name=path.name,
            rewrite=lambda text, where=where: _rewritten(text, page=where),
        )
        nbformat.write(page, source / where)
        if path.stem == TROUBLESHOOTING:
            index = pages.error_index(pages.troubles(notebook), page=where)
            (source / "errors.md").write_text(index, "utf-8")
    for name in extra:
        text = (ROOT / name).read_text("utf-8")
        (source / name).write_text(_rewritten(text, page=name), "utf-8")
    glossary = (ROOT / "site" / "glossary.md").read_text("utf-8").replace("](../", "](")
    (source / "glossary.md").write_text(pages.glossary_page(glossary), "utf-8")
    listed = _write_decks(source / "flashcards", decks=decks, titles=titles)
    modules = reference.write(source / reference.FOLDER, code=code)
    home = _rewritten((ROOT / "README.md").read_text("utf-8"), page="README.md")
    (source / "index.md").write_text(home + _contents(titles, extra, listed, modules), "utf-8")


def _rewritten(text: str, *, page: str) -> str:
    text = pages.without_badges(text)
    return pages.links_on_site(text, page=page, elsewhere=_address)


def _address(path: str) -> str | None:
    """Return where the repository shows a file that the site does not hold."""
    on_site = path in PAGES or path.endswith(".ipynb") or path.startswith(CARRIED)
    if on_site or not (ROOT / path).exists():
        return None
    return f"https://github.com/{links.repository()}/blob/main/{path}"


def _write_decks(target: Path, *, decks: Path, titles: dict[str, str]) -> list[str]:
    """Write a page for each deck and one that lists them. Return the pages for the contents."""
    listed = {}
    for path in sorted(decks.glob("*.md")):
        if path.stem not in titles:
            raise ValueError(f"{path.name} is named after no notebook: {', '.join(titles)}")
        deck = flashcards.read(path)
        listed[path.stem] = (titles[path.stem], len(deck.cards))
        page = deck_pages.deck_page(
            deck, title=titles[path.stem], chapter=f"../notebooks/{path.stem}.ipynb"
        )
        target.mkdir(exist_ok=True)
        (target / path.name).write_text(page, "utf-8")
    if not listed:
        return []
    (target / "index.md").write_text(deck_pages.decks_page(listed), "utf-8")
    return ["flashcards/index"]


def _contents(
    titles: dict[str, str], extra: list[str], decks: list[str], modules: list[str]
) -> str:
    """Return the tables of contents, which Sphinx shows at the side of every page."""
    chapters = [f"notebooks/{s}" for s in titles if s[0].isdigit() and s != TROUBLESHOOTING]
    appendices = [Path(p).stem for p in extra if p.startswith("Appendix")]
    appendices += [f"notebooks/{s}" for s in titles if not s[0].isdigit()]
    rest = [f"notebooks/{TROUBLESHOOTING}", "errors", "glossary"]
    rest += [Path(p).stem for p in extra if not p.startswith("Appendix")] + decks
    parts = {
        "Chapters": chapters,
        "Appendices": appendices,
        "To look things up": rest,
        "Reference": modules,
    }
    trees = [
        "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```", ""])
        for caption, names in parts.items()
    ]
    return "".join(trees)


def build(output: Path, *, source: Path, decks: Path = flashcards.FOLDER) -> Path:
    """Build the site; a warning of Sphinx is an error.

    Args:
        output: Folder of the pages; what is in it is deleted.
        source: Folder for what Sphinx reads; what is in it is deleted.
        decks: Folder of the flashcards.

    Returns:
        The home page.

    Raises:
        subprocess.CalledProcessError: Sphinx failed; it has said why.
    """
    gather(source, decks=decks)
    shutil.rmtree(output, ignore_errors=True)
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    places = ["-c", ROOT / "site", "-d", source.with_name("doctrees"), source, output]
    shutil.rmtree(source.with_name("doctrees"), ignore_errors=True)
    environment = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    subprocess.run([*sphinx, *map(str, places)], check=True, env=environment)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):  # as they are, for the download
        shutil.copy(path, output / "_sources" / "notebooks")
    (output / "_static" / "mathjax").mkdir()
    shutil.copy(_mathjax(), output / "_static" / "mathjax")
    return output / "index.html"


def _mathjax() -> Path:
    """Return MathJax 3 as the package sphinx-mathjax-offline carries it."""
    files = importlib.metadata.files("sphinx-mathjax-offline")
    return next(Path(f.locate()) for f in files if f.match("static/mathjax/tex-svg.js"))


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "_build" / "html")
    home = build(target, source=ROOT / "_build" / "source")
    print(f"The course is built. Open {home}, with or without a network.")
