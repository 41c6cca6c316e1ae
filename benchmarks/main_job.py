"""Time Chapter 0's way of training against the plain way, in one run; prints JSON.

Both train the same model on the same sentences in the same batches, with adapters of the same
size. The plain way is trl's defaults, changed only where they do not run on a CPU (`bf16`,
`use_cpu`): float32 weights, recomputed activations, trl's loss and learning rate.

usage: python benchmarks/main_job.py [--steps N] > helpers/data/records/main_job_cpu.json
"""

import argparse
import contextlib
import json
import sys
from typing import Any

from measuring import alone, header, phase

WAYS = ("plain", "chapter")
N_HELD_OUT = 40


def run(way: str, steps: int) -> dict[str, Any]:
    """Do the whole job one way, in this process."""
    from helpers import environment, models, recipe, yoda
    from onegpu import evaluation, generation, training

    environment.quiet()
    profile = environment.profile("cpu")
    models.source(profile)
    report: dict[str, Any] = {}
    with phase("import", report):
        from peft import LoraConfig, get_peft_model
        from transformers import set_seed
        from trl import SFTConfig, SFTTrainer
    set_seed(42)
    data = yoda.load()
    train = data["train"].map(yoda.to_prompt_completion, remove_columns=["sentence"])
    train = train.select_columns(["prompt", "completion"])
    settings = recipe.sft_settings(profile)
    shared = {key: settings[key] for key in ("per_device_train_batch_size", "num_train_epochs")}
    if way == "plain":
        settings = {**shared, "bf16": False, "use_cpu": True, "save_strategy": "no"}
    with phase("load", report):
        lora = LoraConfig(**recipe.lora_settings())
        base = models.load_base_model(profile) if way == "chapter" else models.source(profile)
        trainer = SFTTrainer(
            model=get_peft_model(base, lora) if way == "chapter" else base,
            args=SFTConfig(
                output_dir=environment.runs_folder() / "checkpoints", max_steps=steps, **settings
            ),
            train_dataset=train,
            processing_class=models.load_tokenizer(profile),
            peft_config=lora if way == "plain" else None,
        )
        if way == "chapter":
            training.prepare(trainer)
    with phase("train", report) as entry, contextlib.redirect_stdout(sys.stderr):
        trainer.train()
        lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
        n_rows = trainer.state.global_step * shared["per_device_train_batch_size"]
        entry["tokens"] = n_rows * sum(lengths) / len(lengths)  # padding not counted
    test = data["test"].select(range(N_HELD_OUT))
    with phase("answer", report) as entry:
        answers = generation.ask_all(
            trainer.model,
            trainer.processing_class,
            prompts=[yoda.prompt(sentence) for sentence in test["sentence"]],
        )
        entry["tokens"] = sum(len(trainer.processing_class(a)["input_ids"]) for a in answers)
    report["exact_matches"] = sum(evaluation.exact_matches(answers, list(test["translation"])))
    return report


def main() -> None:
    """Run both ways, each in a process of its own, and print them beside each other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=180, help="optimizer steps (default: 180)")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(run(arguments.way, arguments.steps)))
        return
    steps = str(arguments.steps)
    reports = {way: alone(__file__, "--steps", steps, "--way", way) for way in WAYS}
    outcome = {
        "environment": header(),
        "steps": arguments.steps,
        "held_out_sentences": N_HELD_OUT,
        **reports,
        "plain_over_chapter": {
            name: round(reports["plain"][name]["seconds"] / reports["chapter"][name]["seconds"], 2)
            for name in ("train", "answer")
        },
    }
    print(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
