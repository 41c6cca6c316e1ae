"""The parts of an evaluation's page: what each says, as text and tables."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from onegpu.downloads import PROJECT
from onegpu.evaluation.pages import Section, Share, Table
from onegpu.evaluation.paired import Comparison
from onegpu.evaluation.scored import Scored

__all__ = ["examples", "forgotten", "lead", "made_with", "scores", "slices"]

LONGEST = 2_000  # characters of an answer that are shown
PACKAGES = (PROJECT, "torch", "transformers", "peft", "trl", "datasets", "sacrebleu", "numpy")
HOLM = " All p are corrected by Holm's method, because many comparisons give luck many tries."


def lead(versions: Sequence[Scored], verdicts: Mapping[str, Comparison], metric: str) -> list[str]:
    """Return what came out, in a sentence for each version but the first.

    Args:
        versions: All of them.
        verdicts: How the others compare with the first.
        metric: By which they were compared, for a reader.

    Returns:
        The sentences.
    """
    first = versions[0]
    if not verdicts:
        return [f"{first.model}: {Share(sum(first.exact), len(first.exact))} right to the letter."]
    return [
        f"{name} against {first.model}, by {metric}: {comparison}."
        for name, comparison in verdicts.items()
    ]


def scores(versions: Sequence[Scored], verdicts: Mapping[str, Comparison], metric: str) -> Section:
    """Return what each version scores, and how far it is from the first.

    Args:
        versions: All of them.
        verdicts: How the others compare with the first.
        metric: By which they were compared, for a reader.

    Returns:
        A section.
    """
    rows = [
        (one.model, Share(sum(one.exact), len(one.exact)), f"{one.mean_chrf:.1f}")
        for one in versions
    ]
    tables = [Table(("version", "exact match (95 % interval)", "chrF, on average"), rows)]
    if verdicts:
        head = (f"against {versions[0].model}", "verdict", "points (95 % interval)", "p")
        compared = [(name, *_told(found)) for name, found in verdicts.items()]
        tables.append(Table(head, compared))
    text = f"Versions are compared by {metric}." if verdicts else ""
    return Section("Scores", text + (HOLM if len(verdicts) > 1 else ""), tables)


def _told(found: Comparison) -> tuple[str, str, str]:
    """Return verdict, points and p."""
    low, high = (f"{100 * end:+.1f}" for end in found.interval)
    points = f"{100 * (found.second - found.first):+.1f} ({low} to {high})"
    return found.verdict, points, f"{found.p:.2g}"


def slices(
    versions: Sequence[Scored],
    groups: Mapping[str, Sequence[bool]],
    compared: Mapping[tuple[str, str], Comparison],
    metric: str,
) -> list[Section]:
    """Return the scores in each group of prompts, where there are groups.

    Args:
        versions: All of them.
        groups: Which of the prompts belong to a group.
        compared: By version and group, how it compares with the first version there.
        metric: By which, for a reader.

    Returns:
        A section, or none.
    """
    if not groups:
        return []
    tables = []
    for version in versions[1:] or versions:
        rows = []
        for name, chosen in groups.items():
            exact = [right for right, member in zip(version.exact, chosen, strict=True) if member]
            found = compared.get((version.model, name))
            rest = _told(found) if found else ()
            rows.append((name, Share(sum(exact), len(exact)), *rest))
        head = ["group", f"exact match of {version.model}"]
        if compared:
            head += ["verdict", f"points against {versions[0].model}", "p"]
        tables.append(Table(tuple(head), rows))
    text = f"Versions are compared by {metric}.{HOLM}" if compared else ""
    return [Section("Slice by slice", text, tables)]


def examples(
    versions: Sequence[Scored], prompts: Sequence[str], references: Sequence[str]
) -> Section:
    """Return the worst, the median and the best answers of the last version, by chrF.

    Args:
        versions: All of them; each is shown.
        prompts: As text.
        references: What should have been answered.

    Returns:
        A section.
    """
    last = versions[-1]
    ranked = sorted(range(len(prompts)), key=lambda place: last.chrf[place])
    n = len(ranked)
    # Of few answers one can be several of these: then it is what comes last
    names = {n - 2: "second best", 1: "second worst", (n - 1) // 2: "median"}
    names |= {0: "worst", n - 1: "best"}
    if n == 1:
        names = {0: "the only one"}
    tables = []
    for rank in sorted(names):
        place = ranked[rank]
        rows = [("prompt", prompts[place]), ("wanted", references[place])]
        rows += [(f"{one.model} said", one.answers[place].strip()) for one in versions]
        head = (names[rank], f"prompt {place + 1}, chrF {100 * last.chrf[place]:.1f}")
        tables.append(Table(head, [(name, _cut(text)) for name, text in rows], of_texts=True))
    return Section("Examples", f"Ranked by the chrF of {last.model}.", tables)


def _cut(text: str) -> str:
    if not text:
        return "(nothing)"
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]} ... ({len(text):,} characters in all)"


def forgotten(skills: Mapping[str, tuple[int, int, int]]) -> list[Section]:
    """Return what else the model could do before and after training, if that was tried.

    Args:
        skills: By name: right answers before, after, and of how many.

    Returns:
        A section, or none.
    """
    rows = [
        (name, Share(before, total), Share(after, total))
        for name, (before, after, total) in skills.items()
    ]
    head = ("skill", "before (95 % interval)", "after (95 % interval)")
    return [Section("Forgetting", "", [Table(head, rows)])] if rows else []


def made_with(files: Sequence[Path]) -> list[Section]:
    """Return what a page was made with: packages, and files of data.

    Args:
        files: Of which names and SHA-256 are shown.

    Returns:
        A section for the files, if there are any, and one for the packages.

    Raises:
        FileNotFoundError: There is no such file.
    """
    rows = []
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file")
        with path.open("rb") as file:
            rows.append((path.name, hashlib.file_digest(file, "sha256").hexdigest()))
    data = [Section("Data", "", [Table(("file", "SHA-256"), rows, of_texts=True)])] if rows else []
    versions = [("Python", platform.python_version()), *_installed()]
    return [*data, Section("Made with", "", [Table(("package", "version"), versions)])]


def _installed() -> list[tuple[str, str]]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
