"""Static checks of the notebooks, which need no torch: shape, outputs, links, one voice."""

import ast
import functools
import re
from pathlib import Path

import nbformat
import pytest
from strict_nbval import COUNT, WITHIN

from tools import links

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home|tmp|work|Users|content)/")
TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9]{20,})")
REGISTRY = re.compile(r"https?://(?:\w+\.)?(?:pypi|npmjs)\.")  # where packages lie
MAX_LINES, MAX_UNCOMPARED = 30, 0.10


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def code_of(cell) -> str:
    """Return a cell's Python, its magics blanked."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)


def problems(path: Path, notebook) -> list[str]:
    """Return what is wrong with a notebook, a line each."""
    cells = notebook.cells
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    found = []
    for cell in code:
        where = f"cell {cells.index(cell)}"
        try:
            tree = ast.parse(code_of(cell))
            found += [f"{where}: {line}" for line in within_problems(cell, tree)]
        except SyntaxError as error:
            found.append(f"{where}: {error}")
        if len(cell.source.splitlines()) > MAX_LINES:
            found.append(f"{where}: over {MAX_LINES} lines")
        if tags(cell) & UNCOMPARED and "# Not compared: " not in cell.source:
            found.append(f"{where}: left uncompared without a comment '# Not compared: why'")
        for output in cell.outputs:
            if output.get("name") == "stderr":
                found.append(f"{where}: stderr is stored")
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                found.append(f"{where}: an error is stored")
            if any("widget" in kind for kind in output.get("data", {})):
                found.append(f"{where}: a widget's state is stored")
            picture = output.get("metadata", {}).get("image/png", {})
            if "image/png" in output.get("data", {}) and not picture.get("alt"):
                found.append(f"{where}: a picture without alt text: call use_style and describe")
    counts = [cell.execution_count for cell in code if "nbval-skip" not in tags(cell)]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"execution counts are not 1 to {len(counts)} in order: run `make notebooks`")
    printing = [cell for cell in code if cell.outputs]
    uncompared = [cell for cell in printing if tags(cell) & UNCOMPARED]
    if len(uncompared) > MAX_UNCOMPARED * len(printing):
        found.append(f"{len(uncompared)} of {len(printing)} outputs are left uncompared")
    everything = nbformat.writes(notebook)
    for name, pattern in (("a machine's path", MACHINE_PATH), ("an access token", TOKEN)):
        if match := pattern.search(everything):
            found.append(f"{name} is stored: {match[0]!r}")
    if "widgets" in notebook.metadata:
        found.append("the notebook stores widget state")
    return found + prose_problems(path, cells) + generated_problems(path, cells)


def within_problems(cell, tree: ast.Module) -> list[str]:
    """Return what is wrong with a cell's tag for counts that may vary, such as `within-2`."""
    within = [tag for tag in tags(cell) if tag.startswith("within")]
    if not within:
        return []
    found = []
    if len(within) > 1 or not WITHIN.fullmatch(within[0]):
        found.append(f"tagged {within}: write one tag, such as within-2")
    if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        found.append(f"{within[0]} without an assert of the bound")
    if not any(COUNT.search(text) for text in texts(cell)):
        found.append(f"{within[0]}, but no count '38 of 40' and no percentage '95 %' is printed")
    return found


def texts(cell) -> list[str]:
    """Return what a cell printed."""
    shown = [output.get("data", {}) for output in cell.outputs]
    return [output.get("text", "") for output in cell.outputs] + [
        text for data in shown for kind, text in data.items() if kind.startswith("text/")
    ]


def prose_problems(path: Path, cells) -> list[str]:
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found = []
    if re.search(r"!\[\s*\]\(|<img (?![^>]*alt=)", text):
        found.append("an image has no alt text")
    chapter = path.name.split("_")[0].lstrip("0") or "0"
    numbers = re.findall(r"^\*Figure (\w+)\.(\d+)\.", text, flags=re.MULTILINE)
    expected = [(chapter, str(i + 1)) for i in range(len(numbers))]
    if path.name[0].isdigit() and numbers != expected:
        found.append(f"figures are numbered {numbers}, expected {expected}")
    n_images = sum("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", []))
    if n_images != len(numbers):
        found.append(f"{n_images} figures but {len(numbers)} numbered captions")
    return found + link_problems(path, text)


def link_problems(path: Path, text: str) -> list[str]:
    """Return the links of a page or notebook that lead nowhere, a line each."""
    found = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", text):
        linked = path.parent / target if target else path
        if REGISTRY.match(target):
            found.append(f"link to {target}: link the project's own release page")
        if target.startswith(("http:", "https:")):
            continue
        if not linked.exists():
            found.append(f"link to {target}, which does not exist")
        elif anchor and linked.suffix in (".ipynb", ".md") and anchor not in anchors(linked):
            found.append(f"link to #{anchor}, a heading that {linked.name} does not have")
    return found


@functools.cache
def anchors(path: Path) -> set[str]:
    """Return the headings of a notebook as Jupyter names them, of a page as GitHub does."""
    if path.suffix == ".md":
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return {h.strip().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def generated_problems(path: Path, cells) -> list[str]:
    found = []
    for tag in ("badge", "install"):
        tagged = [cell.source for cell in cells if tag in tags(cell)]
        if tagged != [links.generated(tag, path.name)]:
            found.append(f"the {tag} cell is not as generated: run `make links`")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_well_kept(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert problems(path, notebook) == []


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", [ROOT / "README.md", *NOTEBOOKS], ids=lambda path: path.name)
def test_badges_open_the_release_that_pyproject_names(path):
    opened = set(links.COLAB.findall(path.read_text("utf-8")))
    assert opened == {links.colab()}, "run `make links`"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")), ids=lambda path: path.name)
def test_pages_link_to_what_exists(path):
    text = path.read_text("utf-8")
    assert link_problems(path, text) == []
    assert not re.search(r"!\[\s*\]\(", text), "an image has no alt text"


@pytest.mark.parametrize(
    "link",
    [
        "nowhere.md",
        "notebooks/09_nowhere.ipynb#1.-The-question",
        "notebooks/00_tldr.ipynb#setup",  # Jupyter keeps capitals
        "NOTES.md#no-such-heading",
        "#Two-commands",  # GitHub does not
        "https://" + "pypi.example/project/trl/",  # Chapter 5 linked such pages five times
    ],
)
def test_a_link_that_leads_nowhere_is_found(link):
    assert link_problems(ROOT / "README.md", f"[here]({link})")
    good = "[a](#two-commands) [b](notebooks/00_tldr.ipynb#Setup) [c](https://x.org/#y)"
    assert link_problems(ROOT / "README.md", good) == []
