"""Train on the rows that Chapter 8 talks about, and score what each set of rows teaches.

amount: Chapter 0's training on 30, 90 and 270 rows, three seeds, 68 steps.

mistakes: 270 rows, three seeds, with 5 or 20 % of the answers wrong in one way.

formats: the same 270 rows written in four formats; each model is then asked in all four.

A second run adds the rows that are missing.

usage: python benchmarks/teaching.py {amount,mistakes,formats} [--out FILE]
"""

import argparse
import functools
import gc
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yoda_runs
from measuring import ROOT, fill

RECORDS = ROOT / "helpers" / "data" / "records"
AMOUNTS = (270, 30, 90)
N_ROWS, STEPS = 270, 68  # of four rows: one pass
N_FRESH = 50  # sentences of seen words, and as many of new ones
MISTAKES = {  # what is wrong, and the share of the rows
    "5 %, another row's answer": ("another row's answer", 0.05),
    "20 %, another row's answer": ("another row's answer", 0.20),
    "20 %, not translated": ("not translated", 0.20),
    "20 %, cut off": ("cut off", 0.20),
}
FORMATS = {  # what stands before the sentence, and between it and its translation
    "### Instruction": (
        "### Instruction:\nTranslate to Yoda-speak.\n\n### Input:\n",
        "\n\n### Response:\n",
    ),
    "own tags": ("<english>", "</english><yoda>"),
    "bare text": ("", "\n"),
}


def base() -> Any:
    """Load the base model, after the last run's has gone."""
    from helpers import environment, models

    gc.collect()  # the model of the last run, and its trainer
    return models.load_base_model(environment.profile("cpu"))


def fresh() -> list[dict[str, Any]]:
    """Return sentences that are in no split, of seen words and of new ones in turns."""
    from helpers import yoda

    known = {row["sentence"] for split in yoda.SPLITS for row in yoda.rows(split)}
    old = yoda.generate(N_FRESH, seed=101, exclude=known)
    new = yoda.generate(N_FRESH, seed=101, new_words=True, exclude=known)
    return [sentence.row for pair in zip(old, new, strict=True) for sentence in pair]


def score(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Return which fresh sentences come out right, and how many not translated or cut off."""
    from helpers import yoda
    from onegpu import evaluation, generation

    rows = fresh()
    prompts = [yoda.prompt(row["sentence"]) for row in rows]
    answers = generation.ask_all(model, tokenizer, prompts=prompts, batch_size=50)
    return {
        "right": [
            int(right)
            for right in evaluation.exact_matches(answers, [row["translation"] for row in rows])
        ],
        "not_translated": sum(
            answer.strip() == row["sentence"] for answer, row in zip(answers, rows, strict=True)
        ),
        "cut_off": sum(
            row["translation"].startswith(answer.strip()) and answer.strip() != row["translation"]
            for answer, row in zip(answers, rows, strict=True)
        ),
    }


def amount(n_rows: int, *, seed: int) -> dict[str, Any]:
    """Train on some of the rows, and score."""
    from helpers import recipe, yoda

    rows = random.Random(seed).sample(yoda.rows("train"), n_rows)
    trainer = yoda_runs.fine_tuned(
        base(),
        lora=recipe.lora_settings(),
        seed=seed,
        steps=STEPS,
        train=[yoda.to_prompt_completion(row) for row in rows],
    )
    return {"n_rows": n_rows, "seed": seed, **score(trainer.model, trainer.processing_class)}


def spoiled(rows: list[dict[str, Any]], *, kind: str, share: float, seed: int) -> list[Any]:
    """Return rows, some of which have a wrong translation of one kind."""
    chosen = random.Random(seed).sample(range(len(rows)), round(share * len(rows)))
    found = [dict(row) for row in rows]
    for position, row in enumerate(chosen):
        translation = rows[row]["translation"]
        words = translation.split()
        found[row]["translation"] = {
            "another row's answer": rows[chosen[position - 1]]["translation"],
            "not translated": rows[row]["sentence"],
            "cut off": " ".join(words[: len(words) // 2]),
        }[kind]
    return found


def mistake(name: str, *, seed: int) -> dict[str, Any]:
    """Train on rows some of which are wrong, and score against right translations."""
    from helpers import recipe, yoda

    kind, share = MISTAKES[name]
    rows = random.Random(seed).sample(yoda.rows("train"), N_ROWS)
    rows = spoiled(rows, kind=kind, share=share, seed=seed)
    trainer = yoda_runs.fine_tuned(
        base(),
        lora=recipe.lora_settings(),
        seed=seed,
        steps=STEPS,
        train=[yoda.to_prompt_completion(row) for row in rows],
    )
    return {"mistakes": name, "seed": seed, **score(trainer.model, trainer.processing_class)}


def written(row: dict[str, Any], format_name: str) -> dict[str, Any]:
    """Return a row as prompt and completion, messages for ChatML and texts for the others."""
    from helpers import yoda

    if format_name == "ChatML":
        return yoda.to_prompt_completion(row)
    before, between = FORMATS[format_name]
    return {"prompt": f"{before}{row['sentence']}{between}", "completion": row["translation"]}


def answers_to(model: Any, tokenizer: Any, *, prompts: list[str]) -> list[str]:
    """Return greedy answers to plain texts, padded on the left."""
    import torch

    found = []
    for start in range(0, len(prompts), 50):
        batch = tokenizer(
            prompts[start : start + 50], padding=True, padding_side="left", return_tensors="pt"
        )
        with torch.inference_mode():
            made = model.generate(**batch, max_new_tokens=32, do_sample=False)
        new = made[:, batch["input_ids"].shape[1] :]
        found += tokenizer.batch_decode(new, skip_special_tokens=True)
    return found


def formatted(format_name: str) -> dict[str, Any]:
    """Train in one format, and count what is right when asked in each."""
    from helpers import recipe, yoda
    from onegpu import evaluation

    trainer = yoda_runs.fine_tuned(
        base(),
        lora=recipe.lora_settings(),
        seed=42,
        steps=STEPS,
        train=[written(row, format_name) for row in yoda.rows("train")[:N_ROWS]],
        to_row=functools.partial(written, format_name=format_name),
    )
    tokenizer, rows = trainer.processing_class, fresh()
    right = {}
    for asked in ("ChatML", *FORMATS):
        prompts = [written(row, asked)["prompt"] for row in rows]
        if asked == "ChatML":
            prompts = tokenizer.apply_chat_template(
                prompts, tokenize=False, add_generation_prompt=True
            )
        answers = answers_to(trainer.model, tokenizer, prompts=prompts)
        references = [row["translation"] for row in rows]
        stripped = [answer.strip() for answer in answers]
        right[asked] = [int(x) for x in evaluation.exact_matches(stripped, references)]
    return {"trained_in": format_name, "right": right}


def jobs_of(part: str) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return the jobs of a part."""
    if part == "formats":
        return {name: functools.partial(formatted, name) for name in ("ChatML", *FORMATS)}
    run, variants = {"amount": (amount, AMOUNTS), "mistakes": (mistake, MISTAKES)}[part]
    return {
        f"{variant}, seed {seed}": functools.partial(run, variant, seed=seed)
        for variant in variants
        for seed in yoda_runs.SEEDS
    }


def main() -> None:
    """Run what a record lacks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=("amount", "mistakes", "formats"))
    parser.add_argument("--out", type=Path, help="the record")
    options = parser.parse_args()
    from helpers import environment

    environment.quiet()
    out = options.out or RECORDS / f"{options.part}_cpu.json"
    fill(out, jobs_of(options.part), steps=STEPS)


if __name__ == "__main__":
    main()
