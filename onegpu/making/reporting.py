"""What was made: counts, reasons, lengths, versions and hashes."""

import collections
import dataclasses
import hashlib
import importlib.metadata
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onegpu.making.chunking import n_words
from onegpu.making.filters import REASONS
from onegpu.making.output import REJECTED
from onegpu.making.writing import answer_of, question_of

__all__ = ["Report", "report"]

PACKAGES = ("datasketch", "phonenumbers", "python-stdnum", "markdown-it-py")
N_SHOWN = 40  # documents, and problems, in a page
NAMES = (
    "Names of people are not found, nor are addresses, or whatever else has no form of its own: "
    "read a sample of the rows before you train on them. The rejected ones hold what they were "
    "rejected for: keep them to yourself."
)


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """What was made of documents. As text it is a page in Markdown.

    Attributes:
        documents: How many were read, those with problems included.
        rows: How many rows each split has.
        rejected: How many rows were rejected for each reason.
        by_document: Of the first documents, how many rows were kept and rejected.
        without_rows: How many documents gave no row, neither kept nor rejected.
        problems: Of the first documents that could not be used, the name and why.
        lengths: Of each split, words of questions and answers: median and longest.
        files: Where the rows of each split are, and the rejected ones.
        hashes: The SHA-256 of each of these files.
        settings: What they were made with.
        versions: Of the packages that look at rows.
    """

    documents: int
    rows: dict[str, int]
    rejected: dict[str, int]
    by_document: dict[str, tuple[int, int]]
    without_rows: int
    problems: list[tuple[str, str]]
    lengths: dict[str, dict[str, float]]
    files: dict[str, Path]
    hashes: dict[str, str]
    settings: dict[str, Any]
    versions: dict[str, str]

    @property
    def n_rows(self) -> int:
        """How many rows were kept, in all splits."""
        return sum(self.rows.values())

    def __repr__(self) -> str:
        kept = ", ".join(f"{n:,} {name}" for name, n in self.rows.items())
        n_rejected = sum(self.rejected.values())
        return f"Report({self.documents:,} documents, {kept}, {n_rejected:,} rejected)"

    def __str__(self) -> str:
        parts = [
            f"# Rows made from {self.settings['documents']}\n\n{self.documents:,} documents, "
            f"{self.n_rows:,} rows kept, {sum(self.rejected.values()):,} rejected, "
            f"{self.without_rows:,} documents without any. {NAMES}",
            *(f"No row went to {name}." for name, n in self.rows.items() if not n),
            _table("Splits", ("split", "rows", *next(iter(self.lengths.values()))), self._splits()),
            _table("Rejected", ("reason", "rows", "because"), self._reasons()),
            _table("Documents that could not be used", ("document", "why"), self.problems),
            _table("Documents", ("document", "kept", "rejected"), self._documents()),
            _table("Files", ("file", "SHA-256"), self._hashes()),
            _table("Settings and versions", ("name", "value"), self._made_with()),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _splits(self) -> list[tuple[Any, ...]]:
        return [(name, n, *self.lengths[name].values()) for name, n in self.rows.items()]

    def _reasons(self) -> list[tuple[Any, ...]]:
        return [(f"`{name}`", n, REASONS.get(name, "")) for name, n in self.rejected.items()]

    def _documents(self) -> list[tuple[Any, ...]]:
        shown = [(name, *counts) for name, counts in self.by_document.items()]
        n_more = self.documents - len(shown)
        return [*shown, (f"and {n_more:,} more, in the journal", "", "")] if n_more else shown

    def _hashes(self) -> list[tuple[Any, ...]]:
        return [(self.files[name].name, f"`{found}`") for name, found in self.hashes.items()]

    def _made_with(self) -> list[tuple[Any, ...]]:
        return [*self.settings.items(), *self.versions.items()]


def report(journal: Path, files: Mapping[str, Path]) -> Report:
    """Read what was made, from its journal and its files.

    Args:
        journal: A line a document.
        files: Of each split, and of the rejected rows.

    Returns:
        The report.
    """
    rejected: collections.Counter[str] = collections.Counter()
    n_documents = without_rows = 0
    by_document: dict[str, tuple[int, int]] = {}
    with journal.open(encoding="utf-8") as lines:
        settings = json.loads(next(lines))
        for line in lines:
            entry = json.loads(line)
            if "document" not in entry:
                continue
            n_documents += 1
            counts = sum(entry["rows"].values()), sum(entry["rejected"].values())
            without_rows += not any(counts)
            rejected.update(entry["rejected"])
            if len(by_document) < N_SHOWN:
                by_document[entry["document"]] = counts
    splits = {name: _lengths(file) for name, file in files.items() if name != REJECTED}
    return Report(
        documents=n_documents,
        rows={name: n for name, (n, _) in splits.items()},
        rejected={name: rejected[name] for name in [*REASONS, *rejected] if rejected[name]},
        by_document=by_document,
        without_rows=without_rows,
        problems=_problems(files[REJECTED]),
        lengths={name: lengths for name, (_, lengths) in splits.items()},
        files=dict(files),
        hashes={name: _hash(file) for name, file in files.items()},
        settings=settings,
        versions={name: importlib.metadata.version(name) for name in PACKAGES},
    )


def _lengths(file: Path) -> tuple[int, dict[str, float]]:
    """Return how many rows a file has, and how long they are."""
    counts: dict[str, collections.Counter[int]] = {
        "question": collections.Counter(),
        "answer": collections.Counter(),
    }
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            counts["question"][n_words(question_of(row))] += 1
            counts["answer"][n_words(answer_of(row))] += 1
    found: dict[str, float] = {}
    for name, lengths in counts.items():
        found[f"words of the {name}, median"] = (
            statistics.median(lengths.elements()) if lengths else 0
        )
        found[f"longest {name}"] = max(lengths, default=0)
    return counts["answer"].total(), found


def _problems(file: Path) -> list[tuple[str, str]]:
    found = []
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["reason"] in ("unreadable", "no-text", "writer-failed") and len(found) < N_SHOWN:
                found.append((row["source"], row["detail"]))
    return found


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _table(title: str, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Return a part of the page, nothing where there are no rows."""
    if not rows:
        return ""
    lines = [head, ("---",) * len(head), *rows]
    shown = ("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    return f"## {title}\n\n" + "\n".join(shown)


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return " ".join(text.split()).replace("|", "\\|")[:300]
