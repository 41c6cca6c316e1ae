"""Look for misspelled words, and for other names than the glossary's: the check `prose`."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = "site/glossary.md"
# What is no prose of ours: code, links and their labels, formulas, and what is named in italics.
APART = re.compile(
    r"```.*?```|`[^`\n]*`|\[[^\]]*\]\([^)\s]*\)|\$[^$]*\$|(?<!\*)\*[^*\n]+\*(?!\*)", re.DOTALL
)
PLAIN = (
    *("*.md", GLOSSARY, "helpers/data/flashcards/*.md", ".github/**/*.yml", "deploy/*"),
    *("onegpu/**/*.py", "helpers/**/*.py", "tools/**/*.py", "benchmarks/*.py"),
)


def texts(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield name and text of each page and module, and of each Markdown cell of the notebooks."""
    for pattern in PLAIN:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root).as_posix(), path.read_text("utf-8")
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        for i, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "markdown":
                yield f"{path.relative_to(root).as_posix()}, cell {i}", cell.source


def misspelled(named_texts: Iterable[tuple[str, str]]) -> list[str]:
    """Return what codespell finds, a line each: where, the line there, word and correction."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in named_texts:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        command = [sys.executable, "-m", "codespell_lib", "--check-hidden", "."]
        command += ["--ignore-words-list", "rouge,oce"]  # a score; a word that lost letters
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.stderr or (run.returncode and not run.stdout):
        raise RuntimeError(f"codespell failed: {run.stderr}")
    return [line.removeprefix("./") for line in run.stdout.splitlines()]


def names(glossary: str) -> dict[str, str]:
    r"""Return, for each name that the glossary says is used elsewhere, the course's own.

    Example:
        >>> names("BF16\n: A 16-bit float. Elsewhere: *bfloat16*, *brain float*. [B](b.md)")
        {'bfloat16': 'BF16', 'brain float': 'BF16'}
    """
    entries = re.findall(r"^(\S.*)\n: (.*)$", glossary, re.MULTILINE)
    return {
        other: term
        for term, meaning in entries
        if (listed := re.search(r"Elsewhere: (\*[^*]+\*(?:, \*[^*]+\*)*)\.", meaning))
        for other in re.findall(r"\*([^*]+)\*", listed[1])
    }


def otherwise_named(named_texts: Iterable[tuple[str, str]], terms: dict[str, str]) -> list[str]:
    """Return a line for each use of another name in Markdown: where, the line there, and the term.

    Args:
        named_texts: As of `texts`; code is left out.
        terms: As of `names`.
    """
    others = "|".join(map(re.escape, sorted(terms, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w.-])(?:{others})(?![\w-])")
    found = []
    for name, text in named_texts:
        if name.endswith(".md") or ".ipynb" in name:
            prose = APART.sub(lambda apart: "\n" * apart[0].count("\n"), text)
            for match in pattern.finditer(prose):
                line = prose.count("\n", 0, match.start()) + 1
                found.append(f"{name}:{line}: {match[0]} ==> {terms[match[0]]}")
    return found


if __name__ == "__main__":
    all_texts = list(texts())
    terms = names((ROOT / GLOSSARY).read_text("utf-8"))
    found = misspelled(all_texts) + otherwise_named(all_texts, terms)
    print("\n".join(found) or "no word is misspelled, and every term is the glossary's")
    sys.exit(bool(found))
