"""Compare versions of one model for Chapter 7: a judge on five, six benchmarks on two, suspicions.

judges: the base model, the same told the rule, Chapter 0's adapter after forty steps and after all,
and that one in GGUF as Q2_K answer the chapter's eighty prompts. The base model, in FP32, judges
each two of them on the first forty, in both orders.

benchmarks: the base model on the first 100 questions of six benchmarks, and on sixty of the
course's own; with Chapter 0's adapter on two of them again. Without a template.

suspects: both adapters on fresh sentences that have what is suspected, and on as many of the same
constructions that don't.

`evaluation.py` runs them.
"""

import functools
import itertools
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PARTS", "jobs_of"]

N_PROMPTS, N_JUDGED, N_QUESTIONS = 80, 40, 100
SEED = 7  # of the prompts
PARTS: dict[str, dict[str, int]] = {  # what all rows of a record share
    "suspects": {},
    "judges": {"n_prompts": N_PROMPTS},
    "benchmarks": {"n_questions": N_QUESTIONS},
}
RULE = "Translate to Yoda-speak: move what follows the subject and the first verb to the front."
VERSIONS = ("base", "prompted", "brief", "trained", "Q2_K")
OWN = ("arc-like", "hellaswag-like")  # questions that were written for the course
AGAIN = ("piqa", "openbookqa")  # after training, too
STEPS = {"brief": {"max_steps": 40}, "trained": {}}  # against Chapter 0
SUSPECTS = {  # how many sentences with it, and as many without, of which constructions
    "split": dict.fromkeys(("future", "negation", "progressive", "question", "state"), 16),
    "when": {"question": 80},
}


def _test() -> list[dict[str, Any]]:
    """Return the rows that the chapter asks about: seen words and new ones, in turns."""
    from helpers import yoda

    known = {row["sentence"] for split in yoda.SPLITS for row in yoda.rows(split)}
    old, new = (
        yoda.generate(N_PROMPTS // 2, seed=SEED, exclude=known, new_words=new_words)
        for new_words in (False, True)
    )
    return [sentence.row for pair in zip(old, new, strict=True) for sentence in pair]


def _adapted(version: str) -> Any:
    """Return the base model in 4 bits with an adapter on it."""
    from peft import PeftModel

    from helpers import adapters, environment, models

    small = environment.profile("cpu")
    folder = adapters.yoda_adapter(small, **STEPS[version])
    return PeftModel.from_pretrained(models.load_base_model(small), folder)


def answered(version: str) -> dict[str, list[str]]:
    """Return a version's `answers` to the chapter's prompts."""
    from helpers import environment, models, yoda
    from onegpu import generation, parity

    small = environment.profile("cpu")
    prompts = [yoda.prompt(row["sentence"]) for row in _test()]
    if version == "Q2_K":
        with tempfile.TemporaryDirectory() as folder:
            recorded = parity.record(_quantized(Path(folder)), prompts, max_new_tokens=32)
        return {"answers": [answer.text for answer in recorded.answers]}
    model = _adapted(version) if version in STEPS else models.load_base_model(small)
    if version == "prompted":
        prompts = [[{"role": "system", "content": RULE}, turns[-1]] for turns in prompts]
    tokenizer = models.load_tokenizer(small)
    return {"answers": generation.ask_all(model, tokenizer, prompts=prompts)}


def _quantized(folder: Path) -> Path:
    """Return Chapter 0's model as a GGUF file in Q2_K, made as in Chapter 6."""
    import torch
    from peft import PeftModel

    from helpers import adapters, environment, models
    from onegpu import gguf, llama_cpp

    llama_cpp.install()
    small = environment.profile("cpu")
    base = models.load_base_model(small).dequantize().float()
    merged = PeftModel.from_pretrained(base, adapters.yoda_adapter(small)).merge_and_unload()
    merged.to(torch.float16).save_pretrained(folder)
    models.load_tokenizer(small).save_pretrained(folder)
    return gguf.quantize(gguf.convert(folder, folder / "f16.gguf"), folder / "q2.gguf", "Q2_K")


def _full() -> tuple[Any, Any]:
    """Return the base model in FP32, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    from helpers import environment, models

    small = environment.profile("cpu")
    model = AutoModelForCausalLM.from_pretrained(models.source(small), dtype=torch.float32)
    return model, models.load_tokenizer(small)


def judged(one: str, other: str, *, record: Path) -> dict[str, Any]:
    """Return how the judge leans, prompt by prompt, in both orders.

    Args:
        one: A version.
        other: Another one.
        record: Where the answers of both are.

    Returns:
        `forward`, log-odds (nats) of A against B where the first version is shown as A; `swapped`,
        the same where it is shown as B. Above 0 the judge is for A.
    """
    from helpers import yoda
    from onegpu import evaluation

    judge = evaluation.ModelJudge(*_full())
    prompts = [yoda.prompt(row["sentence"]) for row in _test()[:N_JUDGED]]
    rows = json.loads(record.read_text("utf-8"))["rows"]
    found: dict[str, Any] = {"first": one, "second": other}
    for order, names in (("forward", (one, other)), ("swapped", (other, one))):
        shown = [rows[name]["answers"][:N_JUDGED] for name in names]
        letters = judge.letter_logprobs(prompts, *shown)
        found[order] = [round(a - b, 3) for a, b in letters.tolist()]
    return found


def quizzed(name: str, version: str) -> dict[str, Any]:
    """Return which of a benchmark's first questions a version gets right, by sum and by length.

    Args:
        name: Of `quizzes.QUIZZES`, or of `OWN`.
        version: `base` or `trained`.
    """
    from peft import PeftModel

    from helpers import adapters, environment, quizzes, texts
    from onegpu import evaluation

    model, tokenizer = _full()
    if version == "trained":
        model = PeftModel.from_pretrained(model, adapters.yoda_adapter(environment.profile("cpu")))
    if name in OWN:
        form = "Question: {}\nAnswer:" if name == "arc-like" else "{}"
        questions = tuple(
            evaluation.Question(form.format(row["question"]), row["choices"], row["gold"])
            for row in texts.quiz(name)
        )
    else:
        questions = quizzes.load(name, N_QUESTIONS).questions
    scores = evaluation.score_choices(model, tokenizer, questions=questions)
    return {
        "benchmark": name,
        "version": version,
        "right": [int(score.is_right) for score in scores],
        "right_by_length": [int(score.is_right_by_length) for score in scores],
    }


def _has(suspect: str, row: dict[str, Any], tokenizer: Any) -> bool:
    """Return whether a sentence has what is suspected.

    `split`: the tokenizer needs more tokens for the answer's first word than for the same word in
    the middle of a sentence. `when`: a question that begins with it.
    """
    if suspect == "when":
        return row["sentence"].startswith("When ")
    first = row["translation"].split()[0].strip(",.?")
    return len(tokenizer.tokenize(first)) > len(tokenizer.tokenize(" " + first.lower()))


def suspected(suspect: str, version: str) -> dict[str, Any]:
    """Return which sentences an adapter gets right: with what is suspected, and without."""
    from helpers import environment, models, yoda
    from onegpu import evaluation, generation

    known = {row["sentence"] for split in yoda.SPLITS for row in yoda.rows(split)}
    known |= {row["sentence"] for row in _test()}
    tokenizer = models.load_tokenizer(environment.profile("cpu"))
    drawn = []
    for new_words in (False, True):
        drawn += yoda.generate(2000, seed=600, new_words=new_words, exclude=known)
    random.Random(0).shuffle(drawn)
    chosen: dict[str, list[dict[str, Any]]] = {"with": [], "without": []}
    for kind, n_each in SUSPECTS[suspect].items():
        rows = [sentence.row for sentence in drawn if sentence.kind == kind]
        groups: dict[str, list[dict[str, Any]]] = {"with": [], "without": []}
        for row in rows:
            groups["with" if _has(suspect, row, tokenizer) else "without"].append(row)
        for name, found in groups.items():
            chosen[name] += found[:n_each]
    model = _adapted(version)
    record: dict[str, Any] = {"suspect": suspect, "version": version}
    for name, rows in chosen.items():
        prompts = [yoda.prompt(row["sentence"]) for row in rows]
        answers = generation.ask_all(model, tokenizer, prompts=prompts, batch_size=80)
        right = evaluation.exact_matches(answers, [row["translation"] for row in rows])
        record[name] = [int(flag) for flag in right]
    return record


def jobs_of(part: str, record: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return the jobs of a part, whose rows go into a record."""
    from helpers import quizzes

    if part == "suspects":
        pairs = itertools.product(SUSPECTS, STEPS)
        return {f"{s}, {v}": functools.partial(suspected, s, v) for s, v in pairs}
    if part == "benchmarks":
        pairs = [(q, "base") for q in (*quizzes.QUIZZES, *OWN)] + [(q, "trained") for q in AGAIN]
        return {f"{q}, {v}": functools.partial(quizzed, q, v) for q, v in pairs}
    answers = {name: functools.partial(answered, name) for name in VERSIONS}
    pairs = itertools.combinations(VERSIONS, 2)
    judge = functools.partial(judged, record=record)
    return answers | {f"{a}, {b}": functools.partial(judge, a, b) for a, b in pairs}
