"""The built files, without a browser: links lead somewhere, nothing is taken from another host."""

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import helpers
import onegpu
from tools import links
from tools.site import pages as page_maker

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_every_chapter_and_page_is_there(pages):
    expected = {"index.html", "errors.html", "glossary.html", "search.html"}
    expected |= {f"notebooks/{path.stem}.html" for path in NOTEBOOKS}
    expected |= {f"{name}.html" for name in ("FAQ", "AppendixA") if (ROOT / f"{name}.md").exists()}
    expected |= {f"flashcards/{name}.html" for name in ("index", "00_tldr", "02_quantization")}
    for package in (onegpu, helpers):
        modules = [f".{name}" for name in package.__all__]
        expected |= {f"reference/{package.__name__}{name}.html" for name in ["", *modules]}
    assert set(pages) == expected


def test_local_links_lead_to_a_file_and_a_heading(site, soups):
    ids = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in soups.items()}
    broken = []
    for page, soup in soups.items():
        for tag in soup.select("a[href], link[href], script[src], img[src]"):
            url, anchor = urldefrag(tag.get("href") or tag.get("src"))
            if re.match(r"[a-z]+:", url):
                continue
            path = unquote(url).split("?")[0]
            target = (site / page).parent.joinpath(path).resolve() if path else site / page
            name = str(target.relative_to(site))
            if not target.is_file() or (anchor and unquote(anchor) not in ids.get(name, {""})):
                broken.append(f"{page}: {url}#{anchor}")
    assert broken == []


def test_other_hosts_appear_in_links_only(soups):
    """A badge is a picture on another host: it would tell that host who reads which page."""
    found = []
    for page, soup in soups.items():
        for tag in soup.find_all(True):
            for name in ("src", "srcset", "poster", "data", "action"):
                if re.match(r"(https?:)?//", str(tag.get(name, ""))):
                    found.append(f"{page}: {tag.name} {tag[name]}")
            if tag.name == "link" and re.match(r"(https?:)?//", tag.get("href", "")):
                found.append(f"{page}: {tag}")
    assert found == []


def test_what_is_not_on_the_site_is_linked_in_the_repository(soups):
    address = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    hrefs = {tag["href"] for tag in soups["index.html"].find_all("a", href=True)}
    assert f"{address['Repository']}/blob/main/CHANGELOG.md" in hrefs
    local = {href for href in hrefs if not href.startswith(("http", "_sources/"))}
    assert not any(href.endswith(".md") for href in local)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_chapter_opens_in_colab_and_downloads_as_it_is(path, site, soups):
    soup = soups[f"notebooks/{path.stem}.html"]
    colab, download = soup.select(".course-buttons a")
    assert colab["href"] == links.colab() + path.name
    downloaded = (site / "notebooks" / download["href"]).resolve()
    assert downloaded.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_figures_have_their_caption_and_alt_text(path, soups):
    soup = soups[f"notebooks/{path.stem}.html"]
    captions = re.findall(r"\*Figure (\w+\.\d+)\. ", path.read_text("utf-8"))
    figures = soup.select("article figure")
    assert [f.figcaption.get_text().split()[1].rstrip(".") for f in figures] == captions
    stored = [
        output.metadata.get("image/png", {}).get("alt")
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(figures) == len(stored)
    for figure, alt in zip(figures, stored, strict=True):
        assert figure.img["alt"] == alt if alt else figure.img["alt"].startswith("Figure ")


def test_a_picture_keeps_its_alt_text_and_is_as_wide_as_drawn():
    """Pictures are stored with twice the pixels, and would look twice as large."""
    picture = new_output(
        "display_data",
        {"image/png": "iVBORw0KGgo="},
        metadata={"image/png": {"width": 740, "height": 300, "alt": "A rising line."}},
    )
    cells = [
        new_code_cell("draw();", outputs=[new_output("stream", text="1"), picture]),
        new_markdown_cell("*Figure 0.1. A line.*"),
    ]
    page = page_maker.notebook_page(new_notebook(cells=cells), name="0.ipynb", rewrite=str)
    options = page.cells[0].metadata["mystnb"]
    assert options["image"] == {"alt": "A rising line.", "width": "740px"}
    assert options["figure"] == {"caption": "Figure 0.1. A line."}


def test_the_setup_is_folded_up_to_the_next_heading():
    cells = [
        new_markdown_cell("# 0. A title"),
        new_markdown_cell("## Setup\n\nThree cells."),
        new_code_cell("import torch"),
        new_markdown_cell("A word.\n\n## 1. The question\n\nWhy?"),
        new_markdown_cell("## 2. The answer"),
    ]
    page = page_maker.notebook_page(new_notebook(cells=cells), name="0.ipynb", rewrite=str)
    text = "".join(cell.source for cell in page.cells)
    folded = re.search(r"<details><summary>Show setup</summary>(.+)</details>", text, re.DOTALL)
    assert folded[1].split() == ["Three", "cells.", "import", "torchA", "word."]
    assert text.index("## Setup") < folded.start()
    assert text[folded.end() :] == "\n\n## 1. The question\n\nWhy?\n## 2. The answer"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_page_opens_with_its_idea(path, soups):
    """The install cell, the imports and the profile are folded; what comes after them is not."""
    soup = soups[f"notebooks/{path.stem}.html"]
    folded = soup.find("summary", string="Show setup").parent
    assert "%pip install" in folded.get_text()
    assert folded.find(["h2", "h3"]) is None
    assert len(soup.select("article div.cell")) > len(folded.select("div.cell")) >= 2
    assert folded.find_parent("details") is None
