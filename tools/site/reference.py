"""Write the pages of the API reference: one for each public module, and one that lists them.

A page holds names. What is said of them comes from the docstrings, by Sphinx's autodoc and
napoleon; `api_extension` tells these of the course's own ways.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import GenericAlias, ModuleType

FOLDER = "reference"
PACKAGES = {"onegpu": "the tools", "helpers": "the course's own"}
LONGEST_VALUE = 72  # characters; a constant that takes more is not written out


def write(folder: Path, *, code: Mapping[str, str]) -> list[str]:
    """Write the pages of all public modules, and one for each package that lists them.

    Args:
        folder: Where the pages go; it is made.
        code: The code of each notebook, by its stem.

    Returns:
        The pages of the packages, for the contents.
    """
    folder.mkdir()
    for package in PACKAGES:
        modules = public_modules(package)
        for module in modules:
            page = module_page(module, users=_users(module, code))
            (folder / f"{module.__name__}.rst").write_text(page, "utf-8")
        (folder / f"{package}.rst").write_text(package_page(package, modules), "utf-8")
    return [f"{FOLDER}/{package}" for package in PACKAGES]


def public_modules(package: str) -> list[ModuleType]:
    """Return the modules that a package names in its `__all__`."""
    names = importlib.import_module(package).__all__
    return [importlib.import_module(f"{package}.{name}") for name in names]


def package_page(package: str, modules: Iterable[ModuleType]) -> str:
    """Return the page that lists the modules of a package, in reStructuredText."""
    titles = [module.__name__ for module in modules]
    summaries = [inspect.getdoc(module).splitlines()[0] for module in modules]
    rows = [f":mod:`{t}`\n   {s}\n" for t, s in zip(titles, summaries, strict=True)]
    tree = [".. toctree::", "   :hidden:", "", *(f"   {title}" for title in titles), ""]
    title = _heading(f"{package}: {PACKAGES[package]}", "=")
    return "\n".join([*title, f".. automodule:: {package}", "", *rows, *tree])


def module_page(module: ModuleType, *, users: Iterable[str]) -> str:
    """Return the page of a module, in reStructuredText: all that is in its `__all__`.

    Args:
        module: A public module.
        users: The notebooks that use it, by their paths in the repository.
    """
    parts = {"Functions": [], "Classes": [], "Constants": []}
    for name in module.__all__:
        value, whole = getattr(module, name), f"{module.__name__}.{name}"
        if inspect.isclass(value):
            parts["Classes"] += [f".. autoclass:: {whole}", "   :members:", ""]
        elif inspect.isroutine(value):
            parts["Functions"] += [f".. autofunction:: {whole}", ""]
        else:
            parts["Constants"] += _constant(module, name)
    lines = [*_heading(module.__name__, "="), f".. automodule:: {module.__name__}", ""]
    if users:
        lines += [f":Used in: {links_to(users)}", ""]
    for title, entries in parts.items():
        if entries:
            lines += [*_heading(title, "-"), *entries]
    return "\n".join(lines)


def _heading(title: str, underline: str) -> list[str]:
    return [title, underline * len(title), ""]


def _users(module: ModuleType, code: Mapping[str, str]) -> list[str]:
    """Return the notebooks whose code has a name of a module, such as `chat.show`."""
    alias = module.__name__.rpartition(".")[2]
    use = re.compile(rf"(?<![\w.]){alias}\.({'|'.join(module.__all__)})\b")
    return [f"notebooks/{stem}.ipynb" for stem, text in code.items() if use.search(text)]


def links_to(places: Iterable[str]) -> str:
    """Return links to chapters, which are given by their paths in the repository."""
    pages = [Path(place).with_suffix("") for place in places]
    return ", ".join(f":doc:`{chapter(page.name)} </{page.as_posix()}>`" for page in pages)


def chapter(stem: str) -> str:
    """Return what the course calls a page.

    Example:
        >>> chapter("00_tldr"), chapter("appendix_b_data_types"), chapter("99_troubleshooting")
        ('Chapter 0', 'Appendix B', 'Troubleshooting')
    """
    if appendix := re.match(r"appendix_?([a-z])", stem, re.IGNORECASE):
        return f"Appendix {appendix[1].upper()}"
    number, _, name = stem.partition("_")
    return name.title() if number == "99" else f"Chapter {int(number)}"


def _constant(module: ModuleType, name: str) -> list[str]:
    """Return the lines of a constant: a short value, or its type, and the comment in the code."""
    value = getattr(module, name)
    shown = repr(value) if isinstance(value, str | int | float | tuple | GenericAlias) else ""
    option = f":type: {type(value).__name__}"
    if 0 < len(shown) <= LONGEST_VALUE:
        option = f":value: {shown}"
    lines = [f".. py:data:: {name}", f"   {option}", ""]
    comment = comment_of(module, name)
    lines += [f"   {comment[:1].upper()}{comment[1:]}", ""]
    if isinstance(value, Mapping):
        lines += ["   Keys: " + ", ".join(f"``{key}``" for key in value), ""]
    return lines


def comment_of(module: ModuleType, name: str) -> str:
    """Return the comment above or behind a constant where it is defined; empty without one."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return comment_of(importlib.import_module(node.module), name)
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            start = node.lineno - 1
            above = start
            while lines[above - 1].startswith("# "):
                above -= 1
            behind = lines[start].partition("  # ")[2]
            return " ".join([*(line[2:] for line in lines[above:start]), behind]).strip()
    return ""
