"""Score questions with EleutherAI's lm-evaluation-harness, beside `evaluation.score_choices`.

PIQA and OpenBookQA, the first 100 questions each, as local JSON tasks; OpenBookQA once more with
the chat template. For each question the record holds lm-eval's log-likelihood of each choice, and
whether it counts as right in `acc` and in `acc_norm`: numbers alone, as the questions have licenses
of their own. `largest_difference` is that to our log-likelihoods, on the same machine.

lm-eval is installed into `.venv-harness`, a layer over `.venv` that a first run makes, about a
minute. A second run adds the rows that are missing.

usage: python benchmarks/harness.py [--model FOLDER] [--questions N] [--out FILE] [--set-up]
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import ROOT, fill

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from onegpu.evaluation import Question

RECORD = ROOT / "helpers" / "data" / "records" / "harness_cpu.json"
LAYER = ROOT / ".venv-harness"
LAYER_PYTHON = LAYER / "bin" / "python"
PINS = Path(__file__).with_name("harness.txt")
JOBS = {  # the benchmark, and whether the prompt goes into the chat template
    "piqa": ("piqa", False),
    "openbookqa": ("openbookqa", False),
    "openbookqa in the template": ("openbookqa", True),
}


def is_set_up() -> bool:
    """Return whether the layer with lm-eval was made, to its end, from the pins of today."""
    stamp = LAYER / ".installed"
    return stamp.exists() and stamp.read_text("utf-8") == PINS.read_text("utf-8")


def set_up() -> None:
    """Make the layer with lm-eval, over the environment that runs this, which stays as it is."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", LAYER], check=True)
    below = sysconfig.get_path("purelib")
    (own,) = LAYER.glob("lib/python*/site-packages")
    (own / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n", "utf-8")
    install = [LAYER_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--requirement", PINS, "--constraint", ROOT / "constraints.txt"]
    subprocess.run(install, check=True, stdout=sys.stderr)
    (LAYER / ".installed").write_text(PINS.read_text("utf-8"), "utf-8")


def task(name: str, questions: Sequence["Question"], folder: Path) -> dict[str, Any]:
    """Write questions as JSON lines into a folder, and return lm-eval's task that reads them."""
    rows = [{"prompt": q.prompt, "choices": list(q.choices), "gold": q.gold} for q in questions]
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    metrics = [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm")
    ]
    return {
        "task": f"{name}_local",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "target_delimiter": " ",
        "metric_list": metrics,
    }


def harness_scores(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence["Question"],
    *,
    chat: bool,
) -> dict[str, Any]:
    """Return what lm-eval says of each question: the log-likelihoods, and what counts as right."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as folder:
        results = lm_eval.simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8),
            tasks=[task("quiz", questions, Path(folder))],
            task_manager=TaskManager(include_defaults=False),
            apply_chat_template=chat,
            bootstrap_iters=0,
        )
    samples = sorted(results["samples"]["quiz_local"], key=lambda sample: sample["doc_id"])
    answers = [[answer[0] for answer in sample["filtered_resps"]] for sample in samples]
    return {
        "acc": results["results"]["quiz_local"]["acc,none"],
        "acc_norm": results["results"]["quiz_local"]["acc_norm,none"],
        "log_likelihoods": [[round(number, 6) for number in numbers] for numbers in answers],
        "right": [int(sample["acc"]) for sample in samples],
        "right_by_length": [int(sample["acc_norm"]) for sample in samples],
    }


def compare(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", *, job: str, n_questions: int
) -> dict[str, Any]:
    """Score the questions of a job by lm-eval and by `evaluation.score_choices`."""
    from helpers import quizzes
    from onegpu import evaluation

    name, chat = JOBS[job]
    questions = quizzes.load(name, n_questions).questions
    found = harness_scores(model, tokenizer, questions, chat=chat)
    scores = evaluation.score_choices(model, tokenizer, questions=questions, chat=chat)
    differences = [
        abs(theirs - ours)
        for numbers, score in zip(found["log_likelihoods"], scores, strict=True)
        for theirs, ours in zip(numbers, score.log_likelihoods, strict=True)
    ]
    return {"largest_difference": max(differences), **found}


def main() -> None:
    """Write the record, in the layer that has lm-eval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a folder; the small model if not given")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--set-up", action="store_true", help="install lm-eval, and stop")
    options = parser.parse_args()
    if importlib.util.find_spec("lm_eval") is None:
        if not is_set_up():
            set_up()
        if not options.set_up:
            command = [LAYER_PYTHON, __file__, *sys.argv[1:]]
            sys.exit(subprocess.run(command, check=False).returncode)
        return
    os.environ["HF_HUB_OFFLINE"] = "1"

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from onegpu import sources

    folder = sources.resolve(options.model or sources.EMBEDDED)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    score = functools.partial(compare, model, tokenizer, n_questions=options.questions)
    jobs = {job: functools.partial(score, job=job) for job in JOBS}
    fill(
        options.out,
        jobs,
        model=Path(folder).name,
        dtype="float32",
        n_questions=options.questions,
        lm_eval=importlib.metadata.version("lm-eval"),
    )


if __name__ == "__main__":
    main()
