"""The line "Taught in: notebooks/..." of a docstring names chapters whose code uses the thing."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from test_static import ROOT, code_of

TAUGHT_IN = re.compile(r"^Taught in: (.+)$", re.MULTILINE)

PACKAGES = ("onegpu", "helpers")


def module_name(path: Path) -> str:
    """Return `onegpu.memory` for onegpu/memory/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of each module of the library by its name."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {module_name(path): ast.parse(path.read_text("utf-8")) for path in paths}


def imported(tree: ast.AST) -> dict[str, str]:
    """Return what each name that is imported from the library stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname and alias.name.split(".")[0] in PACKAGES:
                    names[alias.asname] = alias.name
                elif (package := alias.name.split(".")[0]) in PACKAGES:
                    names[package] = package
    return names


def defined_at(name: str) -> str:
    """Return where a name is defined that a package hands on, such as `onegpu.preflight.check`."""
    package, _, last = name.rpartition(".")
    if package in modules() and name not in modules():
        return imported(modules()[package]).get(last, name)
    return name


def used(code: str) -> set[str]:
    """Return the names of the library that code uses, and the modules that they are in."""
    tree = ast.parse(code)
    known, found = imported(tree), set()
    for node in ast.walk(tree):
        path = []
        while isinstance(node, ast.Attribute):
            path.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in known:
            name = known[node.id]
            for part in [None, *path]:
                name = defined_at(f"{name}.{part}" if part else name)
                found |= {name, *(m for m in modules() if name.startswith(f"{m}."))}
    return found


def described(name: str, tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Yield each thing in a module that says where it is taught, with the places that it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            match = TAUGHT_IN.search(ast.get_docstring(node) or "")
            whole = name if isinstance(node, ast.Module) else f"{name}.{node.name}"
            if match:
                yield whole, match[1].split(", ")


LINES = [line for name, tree in modules().items() for line in described(name, tree)]


@functools.cache
def used_in(path: Path) -> set[str]:
    cells = nbformat.read(path, as_version=4).cells
    return used("\n".join(code_of(cell) for cell in cells if cell.cell_type == "code"))


@pytest.mark.parametrize(("name", "places"), LINES, ids=[name for name, _ in LINES])
def test_the_chapter_that_is_named_uses_it(name, places):
    """Readers were sent to six chapters whose code did not have the function."""
    for place in places:
        path = ROOT / place
        assert path.is_file(), f"{place} is not a file"
        if path.suffix == ".ipynb":
            assert name in used_in(path), f"no code cell of {place} uses it"


def test_there_are_lines():
    assert len(LINES) > 50
