"""Train what Chapter 7 judges: seeds to choose from, ways to forget less, rows for a weakness.

seeds: Chapter 0's training, thirty steps, twenty seeds. Scored on 60 validation sentences and on
100 fresh ones.

forgetting: a third of an epoch, three seeds, with another rank or rate, or with ordinary questions
mixed in, answered by the base model itself.

weakness: Chapter 0's adapter, trained on for thirty steps with five seeds, on old rows and as many
new ones: sentences with a subordinate clause, or any sentences. Scored on fresh sentences of both.

suspects, judges, benchmarks: see `versions.py`.

A second run adds the rows that are missing.

usage: python benchmarks/evaluation.py PART [--out FILE]
"""

import argparse
import functools
import gc
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import versions
import yoda_runs
from measuring import ROOT, fill

RECORDS = ROOT / "helpers" / "data" / "records"
N_FRESH = 50  # sentences of seen words, and as many of new ones
SEED_STEPS, MIX_STEPS = 30, 60
N_REPAIR = 60  # old rows, and as many new ones, in batches of four
SENTENCE = re.compile(r"[^\n]+?[.!?](?=\s|$)")
N_MIXED_ROWS = 240  # of Yoda, to which others are added
MIXES: dict[str, dict[str, Any]] = {  # what is changed against Chapter 0
    "chapter": {},
    "learning rate 3e-4": {"learning_rate": 3e-4},
    "5 % other rows": {"share": 0.05},
    "10 % other rows": {"share": 0.10},
    "20 % other rows": {"share": 0.20},
    "rank 4": {"r": 4, "lora_alpha": 8},  # the scale alpha / r stays 2
}
PARTS: dict[str, dict[str, int]] = {  # what all rows of a record share
    "seeds": {"steps": SEED_STEPS},
    "forgetting": {"steps": MIX_STEPS},
    "weakness": {"steps": N_REPAIR // 2},
    **versions.PARTS,
}


def _base() -> Any:
    from helpers import environment, models

    gc.collect()  # the model of the last run, and its trainer
    return models.load_base_model(environment.profile("cpu"))


def _fresh(seed: int) -> list[dict[str, Any]]:
    """Return sentences that are in no split, seen and new words in turns."""
    from helpers import yoda

    known = {row["sentence"] for split in yoda.SPLITS for row in yoda.rows(split)}
    old = yoda.generate(N_FRESH, seed=seed, exclude=known)
    new = yoda.generate(N_FRESH, seed=seed, new_words=True, exclude=known)
    return [sentence.row for pair in zip(old, new, strict=True) for sentence in pair]


def _right(model: Any, rows: list[dict[str, Any]]) -> list[bool]:
    from helpers import environment, models, yoda
    from onegpu import evaluation, generation

    tokenizer = models.load_tokenizer(environment.profile("cpu"))
    prompts = [yoda.prompt(row["sentence"]) for row in rows]
    answers = generation.ask_all(model, tokenizer, prompts=prompts, batch_size=100)
    return evaluation.exact_matches(answers, [row["translation"] for row in rows])


def one_seed(seed: int) -> dict[str, Any]:
    """Train with a seed, and score on what one chooses by and on what one doesn't know."""
    from helpers import recipe, yoda

    trainer = yoda_runs.fine_tuned(
        _base(), lora=recipe.lora_settings(), seed=seed, steps=SEED_STEPS
    )
    validation = yoda.rows("validation")[: yoda_runs.N_VALIDATION]
    return {
        "validation": sum(_right(trainer.model, validation)),
        "fresh": sum(_right(trainer.model, _fresh(101))),
    }


def before() -> dict[str, Any]:
    """Score what the base model knows."""
    from helpers import environment, models

    tokenizer = models.load_tokenizer(environment.profile("cpu"))
    return {"variant": "before", **yoda_runs.known(_base(), tokenizer)}


def general_rows() -> list[dict[str, Any]]:
    """Return ordinary questions, each with the first sentence of the base model's own answer."""
    from helpers import environment, models, texts
    from onegpu import generation

    tokenizer = models.load_tokenizer(environment.profile("cpu"))
    prompts = [[{"role": "user", "content": question}] for question in texts.questions()]
    answers = generation.ask_all(_base(), tokenizer, prompts=prompts, max_new_tokens=40)
    return [
        {"prompt": prompt, "completion": [{"role": "assistant", "content": sentence[0].strip()}]}
        for prompt, answer in zip(prompts, answers, strict=True)
        if (sentence := SENTENCE.match(answer))
    ]


def forget(
    variant: str, *, seed: int, others: Callable[[], list[dict[str, Any]]]
) -> dict[str, Any]:
    """Train one variant, and score what it learned and what it kept."""
    from helpers import recipe, yoda

    lora, settings, share = recipe.lora_settings(), {}, 0.0
    for name, value in MIXES[variant].items():
        if name == "share":
            share = value
        else:
            (lora if name in lora else settings)[name] = value
    rows = [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:N_MIXED_ROWS]]
    n_others = round(share * len(rows))
    rows += random.Random(seed).sample(others(), n_others) if n_others else []
    steps = MIX_STEPS + round(n_others / 4)
    trainer = yoda_runs.fine_tuned(
        _base(), lora=lora, seed=seed, steps=steps, train=rows, **settings
    )
    return {
        "variant": variant,
        "seed": seed,
        "n_rows": len(rows),
        "exact_matches": yoda_runs.learned(trainer)["exact_matches"],
        **yoda_runs.known(trainer.model, trainer.processing_class),
    }


def of_kind(n_each: int, *, seed: int, weak: bool) -> list[dict[str, Any]]:
    """Return fresh sentences with a subordinate clause, or without: seen words, then new ones."""
    from helpers import yoda

    known = {row["sentence"] for split in yoda.SPLITS for row in yoda.rows(split)}
    found = []
    for new_words in (False, True):
        drawn = yoda.generate(20 * n_each, seed=seed, new_words=new_words, exclude=known)
        chosen = [s.row for s in drawn if (s.kind == "subordinate") == weak]
        found += chosen[:n_each]
    return found


def repair(rows: str, *, seed: int) -> dict[str, Any]:
    """Train Chapter 0's adapter on, and score it on fresh sentences, weak ones and others."""
    from peft import PeftModel

    from helpers import adapters, environment, yoda

    model = PeftModel.from_pretrained(
        _base(), adapters.yoda_adapter(environment.profile("cpu")), is_trainable=rows != "none"
    )
    train = random.Random(seed).sample(yoda.rows("train"), N_REPAIR)
    if rows == "weak":
        train += of_kind(N_REPAIR, seed=seed, weak=True)[:N_REPAIR]
    elif rows == "any":
        known = {row["sentence"] for split in yoda.SPLITS for row in yoda.rows(split)}
        train += [s.row for s in yoda.generate(N_REPAIR, seed=seed, exclude=known)]
    if rows != "none":
        yoda_runs.fine_tuned(
            model,
            lora=None,
            seed=seed,
            steps=N_REPAIR // 2,
            train=[yoda.to_prompt_completion(row) for row in train],
            learning_rate=3e-4,
        )
    tests = {name: of_kind(40, seed=500, weak=name == "weak") for name in ("weak", "others")}
    right = {name: _right(model, test) for name, test in tests.items()}
    return {"rows": rows, "seed": seed, **{k: [int(x) for x in v] for k, v in right.items()}}


def jobs_of(part: str, out: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return the jobs of a part, whose rows go into the record `out`."""
    if part in versions.PARTS:
        return versions.jobs_of(part, out)
    if part == "seeds":
        return {f"seed {seed}": functools.partial(one_seed, seed) for seed in range(1, 21)}
    if part == "weakness":
        return {
            f"{rows}, seed {seed}": functools.partial(repair, rows, seed=seed)
            for seed in range(1, 6)
            for rows in ("none", "weak", "any")[seed > 1 :]
        }
    others = functools.cache(general_rows)
    return {"before": before} | {
        f"{variant}, seed {seed}": functools.partial(forget, variant, seed=seed, others=others)
        for seed in yoda_runs.SEEDS
        for variant in MIXES
    }


def main() -> None:
    """Run what a record lacks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, help="the record")
    options = parser.parse_args()
    from helpers import environment

    environment.quiet()
    out = options.out or RECORDS / f"{options.part}_cpu.json"
    fill(out, jobs_of(options.part, out), **PARTS[options.part])


if __name__ == "__main__":
    main()
