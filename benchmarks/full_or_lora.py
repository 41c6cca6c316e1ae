"""Fine-tune all weights and an adapter, each at its best learning rate: learned, and forgotten.

Both start from the same weights in FP32 and compute in BF16, on the same rows in the same order.
First each gets a learning rate: the lowest validation loss after half an epoch, on a grid that
goes on while the best rate is at its edge. With it each trains for a whole epoch, three seeds. Then
the untouched and the tuned models read a story, name fifty capitals and answer ordinary questions,
none of which training was about; Chapter 0's own recipe, on a base in 4 bits, does so as well. Of
all weights' updates the record has the rank that holds 90 % of their squares. A second run adds the
rows that are missing.

usage: python benchmarks/full_or_lora.py [--steps N] [--out FILE]
"""

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yoda_runs
from measuring import ROOT, fill

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECORD = ROOT / "helpers" / "data" / "records" / "full_or_lora_cpu.json"
RATES = (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
GRID = {"full": (2, 4), "lora": (4, 6)}  # the first and the last of the rates to begin with


def base_model(way: str) -> "PreTrainedModel":
    """Return the base model as a way loads it: in 4 bits for Chapter 0's, else in FP32."""
    import torch
    from transformers import AutoModelForCausalLM

    from helpers import environment, models

    profile = environment.profile("cpu")
    if way == "chapter 0":
        return models.load_base_model(profile)
    return AutoModelForCausalLM.from_pretrained(models.source(profile), dtype=torch.float32)


def train(
    way: str, *, rate: float, seed: int, steps: int, forgotten: bool = False
) -> dict[str, Any]:
    """Train and score one way with one rate and one seed."""
    import torch

    from helpers import recipe

    base = base_model(way)
    before = {}
    if way == "full" and forgotten:
        layers = [n for n, m in base.named_modules() if isinstance(m, torch.nn.Linear)]
        before = {
            n: base.get_submodule(n).weight.detach().clone() for n in layers if n != "lm_head"
        }
    lora = None if way == "full" else recipe.lora_settings()
    half = {} if way == "chapter 0" else {"bf16": True}
    trainer = yoda_runs.fine_tuned(
        base, lora=lora, seed=seed, steps=steps, learning_rate=rate, **half
    )
    found = {"way": way, "learning_rate": rate, "seed": seed, "steps": steps}
    found |= yoda_runs.learned(trainer)
    if forgotten:
        found |= yoda_runs.kept(trainer.model, trainer.processing_class)
    if before:
        found |= _update(base, before)
    return found


def _update(model: "PreTrainedModel", before: dict[str, Any]) -> dict[str, Any]:
    """Return how large the layers' updates are, and of how high a rank; medians over the layers."""
    import torch

    ranks, sizes = [], []
    for name, old in before.items():
        update = (model.get_submodule(name).weight - old).detach()
        share = torch.linalg.svdvals(update).square().cumsum(0)
        ranks.append(int((share < 0.9 * share[-1]).sum()) + 1)
        sizes.append((update.norm() / old.norm()).item())
    middle = len(ranks) // 2
    return {
        "rank_of_90_percent": sorted(ranks)[middle],
        "update_over_weight": round(sorted(sizes)[middle], 4),
    }


def untouched(way: str) -> dict[str, Any]:
    """Return how the base model does before any training."""
    from helpers import environment, models

    tokenizer = models.load_tokenizer(environment.profile("cpu"))
    return {"way": way, **yoda_runs.kept(base_model(way).eval(), tokenizer)}


def main() -> None:
    """Run what the record lacks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=180, help="steps of an epoch (default: 180)")
    parser.add_argument("--out", type=Path, default=RECORD, help="the record")
    options = parser.parse_args()
    from helpers import environment

    environment.quiet()
    described = {"steps": options.steps, "held_out_sentences": yoda_runs.N_HELD_OUT}
    add = functools.partial(fill, options.out, **described)
    add({f"untouched, {way}": functools.partial(untouched, way) for way in ("full", "chapter 0")})
    best = {"chapter 0": 1e-3}  # its recipe has one
    for way in GRID:
        best[way] = _searched(way, add=add, steps=options.steps // 2)
    for seed in yoda_runs.SEEDS:
        for way, rate in best.items():
            job = functools.partial(
                train, way, rate=rate, seed=seed, steps=options.steps, forgotten=True
            )
            add({f"{way}, seed {seed}": job})


def _searched(way: str, *, add: Any, steps: int) -> float:
    """Return the rate of the lowest validation loss; go on while that is at the grid's edge."""
    first, last = GRID[way]
    while True:
        jobs = {
            f"search, {way}, {rate:g}": functools.partial(
                train, way, rate=rate, seed=yoda_runs.SEEDS[0], steps=steps
            )
            for rate in RATES[first : last + 1]
        }
        rows = add(jobs)["rows"]
        best = min((rows[name] for name in jobs), key=lambda row: row["validation_loss"])
        place = RATES.index(best["learning_rate"])
        if place == first > 0:
            first -= 1
        elif place == last < len(RATES) - 1:
            last += 1
        else:
            return best["learning_rate"]


if __name__ == "__main__":
    main()
