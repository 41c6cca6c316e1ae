"""Train the Yoda adapter with other ranks, alphas, learning rates and targets, three seeds each.

Everything else is as in Chapter 0, but for half an epoch. Each variant changes one thing. It is
scored by the loss on the validation split and by exact matches on 40 held-out sentences. A second
run adds the rows that are missing.

usage: python benchmarks/lora_ablation.py [--steps N] [--out FILE]
"""

import argparse
import functools
from pathlib import Path
from typing import Any

import yoda_runs
from measuring import ROOT, fill

RECORD = ROOT / "helpers" / "data" / "records" / "lora_ablation_cpu.json"
ATTENTION, MLP = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
VARIANTS: dict[str, dict[str, Any]] = {  # what is changed against Chapter 0
    "chapter": {},
    "rank 1": {"r": 1, "lora_alpha": 2},
    "rank 4": {"r": 4, "lora_alpha": 8},
    "rank 64": {"r": 64, "lora_alpha": 128},
    "alpha 8": {"lora_alpha": 8},
    "alpha 128": {"lora_alpha": 128},
    "learning rate 1e-4": {"learning_rate": 1e-4},
    "learning rate 5e-3": {"learning_rate": 5e-3},
    "query and value": {"target_modules": ["q_proj", "v_proj"]},
    "attention": {"target_modules": ATTENTION},
    "MLP": {"target_modules": MLP},
}


def run(variant: str, *, seed: int, steps: int) -> dict[str, Any]:
    """Train and score one variant with one seed."""
    from helpers import environment, models, recipe

    changes, lora, rate = VARIANTS[variant], recipe.lora_settings(), {}
    for name, value in changes.items():
        (lora if name in lora else rate)[name] = value
    base = models.load_base_model(environment.profile("cpu"))
    trainer = yoda_runs.fine_tuned(base, lora=lora, seed=seed, steps=steps, **rate)
    return {
        "variant": variant,
        "changes": changes,
        "seed": seed,
        "trainable": trainer.model.get_nb_trainable_parameters()[0],
        **yoda_runs.learned(trainer),
    }


def main() -> None:
    """Run what the record lacks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=90, help="optimizer steps (default: 90)")
    parser.add_argument("--out", type=Path, default=RECORD, help="the record")
    options = parser.parse_args()
    from helpers import environment

    environment.quiet()
    jobs = {
        f"{variant}, seed {seed}": functools.partial(run, variant, seed=seed, steps=options.steps)
        for seed in yoda_runs.SEEDS
        for variant in VARIANTS
    }
    held_out = {"held_out_sentences": yoda_runs.N_HELD_OUT}
    fill(options.out, jobs, steps=options.steps, **held_out)


if __name__ == "__main__":
    main()
