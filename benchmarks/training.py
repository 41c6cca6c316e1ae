"""Time trl's defaults, the profile's settings, and each of their differences alone; prints JSON.

Every way trains the same base model on the same rows in the same order, as many steps, and is asked
the same held-out sentences. `full` and `lora` are trl's defaults, changed only where they do not
run on a CPU. `rate` is `lora` with the profile's learning rate and schedule, without which there is
no score to compare; each of CHANGES is `rate` with one change; `profile` has them all.

usage: python benchmarks/training.py [--steps N] [--limit-gib G]
           > helpers/data/records/training_cpu.json
"""

import argparse
import contextlib
import json
import sys
from typing import Any

from measuring import alone, header, phase

N_HELD_OUT = 40
CHANGES = ("BF16", "4 bits", "no checkpointing", "loss of learned tokens", "eager attention")
WAYS = ("full", "lora", "rate", *CHANGES, "profile")


def run(way: str, steps: int, limit_gib: float | None) -> dict[str, Any]:
    """Train and score one way, in this process."""
    import torch

    from helpers import environment, models, recipe, yoda
    from onegpu import evaluation, generation, training

    environment.quiet()
    profile = environment.profile()
    on_gpu = profile.device == "cuda"
    if limit_gib and on_gpu:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(limit_gib * 1024**3 / total)
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    set_seed(42)
    data = yoda.load()
    train = data["train"].map(yoda.to_prompt_completion, remove_columns=["sentence"])
    report: dict[str, Any] = {}
    with phase("load", report):
        model = base_model(way, profile)
        if way != "full":
            model = get_peft_model(model, LoraConfig(**recipe.lora_settings()))
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=environment.runs_folder() / "checkpoints",
                max_steps=steps,
                **settings(way, recipe.sft_settings(profile), on_gpu=on_gpu),
            ),
            train_dataset=train.select_columns(["prompt", "completion"]),
            processing_class=models.load_tokenizer(profile),
        )
        if way in ("loss of learned tokens", "profile"):
            training.prepare(trainer)
    with phase("train", report) as entry, contextlib.redirect_stdout(sys.stderr):
        trainer.train()
        lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
        n_rows = steps * trainer.args.per_device_train_batch_size
        entry["tokens"] = n_rows * sum(lengths) / len(lengths)  # padding not counted
        if on_gpu:
            entry["peak_gib"] = torch.cuda.max_memory_reserved() / 1024**3
    test = data["test"].select(range(N_HELD_OUT))
    prompts = [yoda.prompt(sentence) for sentence in test["sentence"]]
    answers = generation.ask_all(trainer.model, trainer.processing_class, prompts=prompts)
    report["exact_matches"] = sum(evaluation.exact_matches(answers, list(test["translation"])))
    return report


def base_model(way: str, profile: Any) -> Any:
    """Return the base model as a way loads it."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    from helpers import models
    from onegpu import quantization

    if way == "profile":
        return models.load_base_model(profile)
    halved = way == "BF16"
    loading: dict[str, Any] = {"dtype": profile.dtype if halved else torch.float32}
    if way == "eager attention":
        loading["attn_implementation"] = profile.attention
    if way == "4 bits":
        loading["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
        )
    model = AutoModelForCausalLM.from_pretrained(
        models.source(profile), device_map={"": profile.device}, **loading
    )
    quantization.keep_trainable(model)
    return model


def settings(way: str, of_profile: dict[str, Any], *, on_gpu: bool) -> dict[str, Any]:
    """Return the settings of a way."""
    if way == "profile":
        return of_profile
    chosen: dict[str, Any] = {
        "per_device_train_batch_size": of_profile["per_device_train_batch_size"],
        "save_strategy": "no",
        **({} if on_gpu else {"bf16": False, "use_cpu": True}),
    }
    if way not in ("full", "lora"):
        for name in ("learning_rate", "lr_scheduler_type", "warmup_steps"):
            chosen[name] = of_profile[name]
    if way == "no checkpointing":
        chosen["activation_checkpointing"] = False
    return chosen


def main() -> None:
    """Run every way in a process of its own, and print them beside each other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps (default: 60)")
    parser.add_argument("--limit-gib", type=float, help="use no more of a GPU than this")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(run(arguments.way, arguments.steps, arguments.limit_gib)))
        return
    reports = {}
    for way in WAYS:
        options = ["--steps", str(arguments.steps), "--way", way]
        if arguments.limit_gib:
            options += ["--limit-gib", str(arguments.limit_gib)]
        reports[way] = alone(__file__, *options)
    seconds = {way: report["train"]["seconds"] for way, report in reports.items()}
    outcome = {
        "environment": header(),
        "steps": arguments.steps,
        "limit_gib": arguments.limit_gib,
        "held_out_sentences": N_HELD_OUT,
        "ways": reports,
        "time_over_rate": {way: round(n / seconds["rate"], 2) for way, n in seconds.items()},
    }
    print(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
