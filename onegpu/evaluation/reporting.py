"""An evaluation as one page: what came out, how sure that is, examples, and what it was made with.

Taught in: notebooks/07_evaluation.ipynb
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onegpu.evaluation import report_parts as parts
from onegpu.evaluation.judging import text_of
from onegpu.evaluation.pages import Page, to_html, to_markdown
from onegpu.evaluation.paired import Comparison, compare_groups
from onegpu.evaluation.scored import METRICS, Scored, score_each

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["Report", "report"]


@dataclasses.dataclass(frozen=True)
class Report:
    """An evaluation that was written down.

    Attributes:
        verdicts: What came out: for each version but the first, how it compares with that.
        markdown: The page as Markdown.
        html: The same as a page for a browser.
    """

    verdicts: dict[str, Comparison]
    markdown: Path
    html: Path

    def __str__(self) -> str:
        lines = [f"{name}: {comparison}" for name, comparison in self.verdicts.items()]
        return "\n".join([*lines, f"{self.markdown} and {self.html.name} are written"])


def report(
    folder: str | Path,
    *,
    title: str,
    prompts: "Sequence[str | Conversation]",
    references: Sequence[str],
    answers: Mapping[str, Sequence[str]],
    groups: Mapping[str, Sequence[bool]] | None = None,
    forgetting: Mapping[str, tuple[int, int, int]] | None = None,
    files: Sequence[str | Path] = (),
    metric: str = "exact",
) -> Report:
    """Write an evaluation down as a page: `evaluation.md`, and `evaluation.html` for a browser.

    It opens with the verdict. Then come scores with their intervals, groups of prompts, the best,
    the median and the worst answers, what was forgotten, and what the page was made with. More
    versions than two, and groups, are corrected by Holm's method, as in `compare_groups`.

    Args:
        folder: Where to write; it's made if need be, and pages in it are written over.
        title: Heading of the page.
        prompts: What was asked, as text or as conversations up to the answer.
        references: What should have been answered, one a prompt.
        answers: Answers of each version by its name, one a prompt. The first version is the
            baseline; of the last one examples are shown.
        groups: For each group's name, which of the prompts belong to it.
        forgetting: For each other skill's name, how many answers were right before, how many after
            training, and of how many.
        files: Files of data, of which names and SHA-256 are recorded.
        metric: By which versions are compared: `"exact"` or `"chrf"`.

    Returns:
        The verdicts, and where the pages are.

    Raises:
        ValueError: There are no prompts or versions, a version or a group has not as many entries
            as there are prompts, something isn't text, or counts can't be.
        FileNotFoundError: One of the files does not exist.

    Example:
        >>> report(  # doctest: +SKIP
        ...     "runs/evaluation", title="Yoda", prompts=["You are strong."],
        ...     references=["Strong, you are."],
        ...     answers={"base": ["You are strong."], "tuned": ["Strong, you are."]},
        ... ).verdicts["tuned"].verdict
        'not enough to tell'

    Taught in: notebooks/07_evaluation.ipynb
    """
    groups, forgetting = dict(groups or {}), dict(forgetting or {})
    asked = [text_of(prompt) for prompt in prompts]
    _check(title, asked, references, answers)
    _check_counts(len(asked), groups, forgetting, metric)
    versions = [score_each(name, texts, references) for name, texts in answers.items()]
    overall = _compared(versions, {"all": [True] * len(asked)}, metric)
    verdicts = {name: comparison for (name, _), comparison in overall.items()}
    sections = [
        parts.scores(versions, verdicts, METRICS[metric]),
        *parts.slices(versions, groups, _compared(versions, groups, metric), METRICS[metric]),
        parts.examples(versions, asked, references),
        *parts.forgotten(forgetting),
        *parts.made_with([Path(file) for file in files]),
    ]
    page = Page(title, parts.lead(versions, verdicts, METRICS[metric]), sections)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = Report(verdicts, folder / "evaluation.md", folder / "evaluation.html")
    found.markdown.write_text(to_markdown(page), "utf-8", newline="\n")
    found.html.write_text(to_html(page), "utf-8", newline="\n")
    return found


def _check(
    title: str,
    prompts: list[str],
    references: Sequence[str],
    answers: Mapping[str, Sequence[str]],
) -> None:
    """Raise what is wrong with the texts."""
    if not title.strip() or not prompts or not answers:
        raise ValueError(
            f"title {title!r}, {len(prompts)} prompts, {len(answers)} versions: give a title, and "
            "at least one prompt and one version"
        )
    for name, texts in {"references": references, **answers}.items():
        if isinstance(texts, str) or len(texts) != len(prompts):
            raise ValueError(
                f"{name!r} has {len(texts)} texts for {len(prompts)} prompts: give a list with one "
                "for each"
            )
    for name, texts in {"prompts": prompts, "references": references, **answers}.items():
        for place, text in enumerate(texts, start=1):
            if not isinstance(text, str):
                raise ValueError(f"{name!r}: number {place} is no text, but {text!r}")


def _check_counts(
    n: int,
    groups: Mapping[str, Sequence[bool]],
    forgetting: Mapping[str, tuple[int, int, int]],
    metric: str,
) -> None:
    """Raise what is wrong with the rest."""
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}: choose from {', '.join(METRICS)}")
    for name, chosen in groups.items():
        if len(chosen) != n or not any(chosen):
            raise ValueError(
                f"group {name!r} marks {sum(chosen)} of {len(chosen)} prompts: give one truth "
                f"value for each of the {n}, at least one of them true"
            )
    for name, (before, after, total) in forgetting.items():
        if total < 1 or not (0 <= before <= total and 0 <= after <= total):
            raise ValueError(
                f"forgetting {name!r}: {before} before and {after} after, of {total}; give counts "
                "of right answers, and of how many, at least one"
            )


def _compared(
    versions: list[Scored], groups: Mapping[str, Sequence[bool]], metric: str
) -> dict[tuple[str, str], Comparison]:
    """Compare all versions but the first with it, group by group, with one correction for all."""
    first, *others = (version.points(metric) for version in versions)
    keys, members = [], {}
    for number, other in enumerate(versions[1:]):
        before, after = number * len(first), (len(others) - number - 1) * len(first)
        for name, chosen in groups.items():
            keys.append((other.model, name))
            members[f"{number} {name}"] = [False] * before + list(chosen) + [False] * after
    # One version after the other makes a longer list of prompts, of which each has its own
    found = compare_groups(first * len(others), list(itertools.chain(*others)), groups=members)
    return dict(zip(keys, found.values(), strict=True))
