"""Add a token, train an adapter with and without the token's own row, and see what it can do.

The token is read or written. Read: half of the sentences carry it and are to be translated, the
others are to be repeated, so it alone says what to do. Written: every translation is to begin with
it. The base is Chapter 0's, with a row for the token that `resize_token_embeddings` makes: about
the mean of all rows. Three seeds each, 60 steps. A second run adds the rows that are missing.

usage: python benchmarks/new_token.py [--steps N] [--out FILE]
"""

import argparse
import functools
from pathlib import Path
from typing import Any

import yoda_runs
from measuring import ROOT, fill

RECORD = ROOT / "helpers" / "data" / "records" / "new_token_cpu.json"
TOKEN = "<|yoda|>"


def to_row(row: dict[str, Any], *, use: str) -> dict[str, Any]:
    """Return a training row in which the token is read or written."""
    from helpers import yoda

    made = yoda.to_prompt_completion(row)
    if use == "written":
        made["completion"][0]["content"] = TOKEN + row["translation"]
    elif len(row["sentence"]) % 2:  # about half, and not by kind
        made["completion"][0]["content"] = row["sentence"]
    else:
        made["prompt"][1]["content"] = TOKEN + row["sentence"]
    return made


def run(use: str, *, row_trained: bool, seed: int, steps: int) -> dict[str, Any]:
    """Train one way with one seed, and ask 40 held-out sentences."""
    from helpers import environment, models, recipe, yoda
    from onegpu import evaluation, generation

    profile = environment.profile("cpu")
    tokenizer = models.load_tokenizer(profile)
    tokenizer.add_tokens([TOKEN])
    token_id = tokenizer.convert_tokens_to_ids(TOKEN)
    base = models.load_base_model(profile)
    base.resize_token_embeddings(len(tokenizer))
    lora = recipe.lora_settings()
    if row_trained:
        lora["trainable_token_indices"] = [token_id]
    trainer = yoda_runs.fine_tuned(
        base,
        lora=lora,
        seed=seed,
        steps=steps,
        to_row=functools.partial(to_row, use=use),
        tokenizer=tokenizer,
    )
    test = yoda.load()["test"].select(range(yoda_runs.N_HELD_OUT))
    made = [to_row(row, use=use) for row in test]
    answers = generation.ask_all(trainer.model, tokenizer, prompts=[row["prompt"] for row in made])
    wanted = [row["completion"][0]["content"] for row in made]
    right = evaluation.exact_matches(answers, wanted)
    found = {"use": use, "row_trained": row_trained, "seed": seed, "answers": answers[:3]}
    if use == "written":
        found["begin_with_token"] = sum(answer.startswith(TOKEN) for answer in answers)
        translated = [answer.removeprefix(TOKEN) for answer in answers]
        right = evaluation.exact_matches(translated, list(test["translation"]))
        return {**found, "right_apart_from_token": sum(right)}
    marked = [TOKEN in row["prompt"][1]["content"] for row in made]
    return {
        **found,
        "marked": sum(marked),
        "marked_right": sum(r for r, m in zip(right, marked, strict=True) if m),
        "unmarked_right": sum(r for r, m in zip(right, marked, strict=True) if not m),
    }


def main() -> None:
    """Run what the record lacks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps (default: 60)")
    parser.add_argument("--out", type=Path, default=RECORD, help="the record")
    options = parser.parse_args()
    from helpers import environment

    environment.quiet()
    jobs = {}
    for seed in yoda_runs.SEEDS:
        for use in ("read", "written"):
            for trained in (False, True):
                name = f"{use}, row {'trained' if trained else 'frozen'}, seed {seed}"
                jobs[name] = functools.partial(
                    run, use, row_trained=trained, seed=seed, steps=options.steps
                )
    fill(options.out, jobs, steps=options.steps, held_out_sentences=yoda_runs.N_HELD_OUT)


if __name__ == "__main__":
    main()
