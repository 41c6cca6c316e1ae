"""The API reference: all public names are in it, and the chapters' code leads to them."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import nbformat
import pytest
from test_static import ROOT, code_of

PACKAGES = ("onegpu", "helpers")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = [
    importlib.import_module(f"{package}.{name}")
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
]


def page_of(module: str) -> str:
    return f"reference/{module}.html"


def uses(path: Path) -> set[tuple[str, str]]:
    """Return the public names that a notebook's code uses, each with its module."""
    cells = nbformat.read(path, as_version=4).cells
    tree = ast.parse("\n".join(code_of(cell) for cell in cells if cell.cell_type == "code"))
    imported = {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in PACKAGES
        for alias in node.names
    }
    return {
        (imported[node.value.id], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in imported
    }


USES = {path.stem: uses(path) for path in NOTEBOOKS}


def links_of(part, field: str) -> set[str]:
    """Return where the links of a field lead, in a part of a page."""
    marks = [dt for dt in part.select("dl.field-list > dt") if dt.get_text() == f"{field}:"]
    return {a["href"] for mark in marks for a in mark.find_next_sibling("dd").select("a")}


def taught_in(thing) -> set[str]:
    line = re.search(r"^Taught in: (.+)$", inspect.getdoc(thing) or "", re.MULTILINE)
    places = line[1].split(", ") if line else []
    return {str(Path("..", place).with_suffix(".html")) for place in places}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_is_explained(module, soups):
    soup = soups[page_of(module.__name__)]
    for name in module.__all__:
        entry = soup.find(id=f"{module.__name__}.{name}")
        assert entry is not None, f"{name} is not in the reference"
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            explained = entry.find_next_sibling("dd").find("p").get_text().strip()
            assert explained, f"{name} has no explanation"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_of_a_package_lists_its_modules(package, soups):
    links = {a["href"].split("#")[0] for a in soups[page_of(package)].select("article a[href]")}
    names = importlib.import_module(package).__all__
    assert {f"{package}.{name}.html" for name in names} <= links
    assert page_of(package) in {a["href"] for a in soups["index.html"].select("nav a[href]")}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_an_entry_leads_to_the_chapters_that_teach_it(module, soups):
    soup = soups[page_of(module.__name__)]
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isroutine(thing):
            entry = soup.find(id=f"{module.__name__}.{name}").find_next_sibling("dd")
            assert links_of(entry, "Taught in") == taught_in(thing), name


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_module_leads_to_the_chapters_that_use_it(module, soups):
    users = {
        f"../notebooks/{stem}.html"
        for stem, used in USES.items()
        if any(where == module.__name__ and name in module.__all__ for where, name in used)
    }
    assert links_of(soups[page_of(module.__name__)], "Used in") == users


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_code_leads_to_the_reference(path, soups):
    expected = {
        (f"{where.rpartition('.')[2]}.{name}", f"../{page_of(where)}#{where}.{name}")
        for where, name in USES[path.stem]
        if name in importlib.import_module(where).__all__
    }
    links = soups[f"notebooks/{path.stem}.html"].select(".cell_input a")
    assert {(a.get_text(), a["href"]) for a in links} == expected
    assert len(expected) > 5


def test_what_docstrings_say_is_not_taken_for_a_type(soups):
    """A colon in the first line of Returns, or of a property's docstring, hid half of it."""
    found = {
        f"{page}: {dt.get_text()}"
        for page, soup in soups.items()
        for dt in soup.select("dl.field-list > dt")
        if dt.get_text().rstrip(":") in ("Type", "Return type", "Yield type")
    }
    assert found == set()


def test_signatures_are_for_readers(soups):
    """No field that is private, no type by its whole path, and nothing of this machine."""
    found = [
        f"{page}: {part.get_text()}"
        for page, soup in soups.items()
        for part in soup.select("dt.sig, dt.sig .sig-param")
        if re.search(r"^_|~|<|\bonegpu\.|\bhelpers\.|Path\(", part.get_text())
    ]
    assert found == []


def test_a_constant_has_its_value_and_the_comment_of_the_code(soups):
    """`IGNORED` is defined in another module than the one that readers import it from."""
    entry = soups[page_of("onegpu.chat")].find(id="onegpu.chat.IGNORED")
    assert entry.get_text().strip().startswith("IGNORED = -100")
    assert "the loss leaves out" in entry.find_next_sibling("dd").get_text()


def test_names_in_backticks_are_links_where_they_are_in_the_reference(soups):
    entry = soups[page_of("onegpu.chat")].find(id="onegpu.chat.show").find_next_sibling("dd")
    texts = {code.get_text(): code.find_parent("a") for code in entry.select("code")}
    assert texts["encode"]["href"] == "#onegpu.chat.encode"
    assert texts["input_ids"] is None
