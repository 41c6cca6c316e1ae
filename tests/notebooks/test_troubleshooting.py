"""Troubleshooting is a page that one drops into: each section runs alone, and is found."""

import ast
import builtins
import itertools
import re
from pathlib import Path

import nbformat
from test_static import code_of, tags

from helpers.figures.symptoms import N_FIRST, SYMPTOMS

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "99_troubleshooting.ipynb"
HEADLINE = re.compile(r"\A### (\S+)\n\n\*\*(.+)\*\*$", re.MULTILINE)


def cells():
    return nbformat.read(NOTEBOOK, as_version=4).cells


def headlines() -> dict[str, str]:
    """Return the first line of each section by its name."""
    found = [HEADLINE.search(cell.source) for cell in cells() if cell.cell_type == "markdown"]
    return dict(match.groups() for match in found if match)


def by_section() -> tuple[list[str], dict[str, list[str]]]:
    """Return the code of the setup, and that of each section, a string for each cell."""
    setup, sections, current = [], {}, None
    for cell in cells():
        if cell.cell_type == "markdown" and (heading := re.match(r"##+ (.+)", cell.source)):
            current = heading[1]
        elif cell.cell_type == "code" and current == "Setup":
            setup += [] if "install" in tags(cell) else [code_of(cell)]
        elif cell.cell_type == "code":
            sections.setdefault(current, []).append(code_of(cell))
    return setup, sections


def names_of(code: list[str]) -> tuple[set[str], set[str]]:
    """Return the names that code binds anywhere, and those that it reads."""
    bound, read = set(), set()
    for node in (node for cell in code for node in ast.walk(ast.parse(cell))):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
    return bound, read


def unknown_names(setup: list[str], section: list[str]) -> set[str]:
    """Return what a section reads that neither it nor the setup has bound."""
    bound, read = names_of(section)
    return read - bound - names_of(setup)[0] - set(dir(builtins))


def test_each_section_needs_the_setup_alone():
    """It used to need "the sections before it"."""
    setup, sections = by_section()
    assert len(setup) >= 4 and len(sections) > 100
    setup.append("import sys")  # the install cell's
    lost = {name: unknown_names(setup, code) for name, code in sections.items()}
    assert {name: unknown for name, unknown in lost.items() if unknown} == {}


def test_a_name_of_another_section_is_found():
    setup, section = ["rows = [1]"], ["print(rows, model)\nfor x in rows:\n    print(x)"]
    assert unknown_names(setup, section) == {"model"}


def test_the_index_has_a_line_for_each_section_and_says_what_it_says():
    (index,) = [cell.source for cell in cells() if cell.source.startswith("## Index by message")]
    listed = re.findall(r"^\| (.+) \| \[(\S+)\]\(#(\S+)\) \|$", index, re.MULTILINE)
    expected = [(line.replace("|", r"\|"), name, name) for name, line in headlines().items()]
    assert listed == expected


def test_every_section_is_reached_from_a_symptom():
    rows = [row for branch in SYMPTOMS.values() for row in branch.values()]
    assert all(len(row) == len(set(row)) for row in rows)
    assert set(itertools.chain.from_iterable(rows)) == set(headlines())


def test_what_raises_no_error_is_not_sent_to_from_an_error():
    silent = {name for name, line in headlines().items() if "No error." in line}
    assert {"pad-is-eos", "learning-rate"} <= silent
    named = set(itertools.chain.from_iterable(SYMPTOMS["yes"].values()))
    assert named & silent <= {"length-outlier"}


def test_the_table_names_the_sections_of_each_symptom():
    (table,) = [cell.source for cell in cells() if cell.source.startswith("## Where to look")]
    for branch in SYMPTOMS.values():
        for symptom, sections in branch.items():
            links = [f"[{name}](#{name})" for name in sections]
            first, rest = ", ".join(links[:N_FIRST]), ", ".join(links[N_FIRST:])
            assert f"| **{symptom}** | {first} | {rest} |" in table
