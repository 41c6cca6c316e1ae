"""The built files, without a browser: links lead somewhere, nothing is taken from another host."""

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import helpers
import onegpu
from tools import links

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
    assert all(f.img["alt"].startswith("Figure ") for f in figures)
    assert not re.search(r"[*`$]|\]\(", "".join(f.img["alt"] for f in figures))


def test_the_index_of_errors_names_every_trouble(soups):
    headings = soups["notebooks/99_troubleshooting.html"].select("article h3")
    names = {h.get_text().rstrip("#") for h in headings}
    listed = {a.get_text() for a in soups["errors.html"].select("article li a")}
    assert len(names) > 80
    assert listed == names


def test_each_term_of_the_glossary_leads_to_its_section(soups):
    terms = soups["glossary.html"].select("dl.glossary > dt")
    meanings = soups["glossary.html"].select("dl.glossary > dd")
    assert 40 <= len(terms) == len(meanings)
    names = [term.get_text().rstrip("#") for term in terms]
    assert names == sorted(names, key=str.lower)
    for name, meaning in zip(names, meanings, strict=True):
        assert any("#" in a["href"] for a in meaning.find_all("a")), name
