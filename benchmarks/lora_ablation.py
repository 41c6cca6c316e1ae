"""Train the Yoda adapter with other ranks, alphas, learning rates and targets; prints JSON.

Everything else is as in Chapter 0, but for half an epoch. Each variant changes one thing. It is
scored by the loss on the validation split and by exact matches on 40 held-out sentences.

usage: python benchmarks/lora_ablation.py [--steps N] > helpers/data/records/lora_ablation_cpu.json
"""

import argparse
import contextlib
import json
import sys
from typing import Any

from measuring import header

N_HELD_OUT, N_VALIDATION = 40, 60
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


def run(changes: dict[str, Any], steps: int) -> dict[str, Any]:
    """Train and score one variant."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    from helpers import environment, models, recipe, yoda
    from onegpu import evaluation, generation, losses, training

    profile = environment.profile("cpu")
    set_seed(42)
    data = {
        name: split.map(yoda.to_prompt_completion, remove_columns=split.column_names)
        for name, split in yoda.load().items()
    }
    settings = recipe.sft_settings(profile) | {"max_steps": steps}
    lora = recipe.lora_settings()
    for name, value in changes.items():
        (settings if name in settings else lora)[name] = value
    model = get_peft_model(models.load_base_model(profile), LoraConfig(**lora))
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=environment.runs_folder() / "checkpoints", **settings),
        train_dataset=data["train"],
        eval_dataset=data["validation"].select(range(N_VALIDATION)),
        processing_class=models.load_tokenizer(profile),
    )
    training.patch_trainer(trainer)
    with contextlib.redirect_stdout(sys.stderr):
        trainer.train()
    model.eval()
    found = []
    with torch.inference_mode():
        for batch in trainer.get_eval_dataloader():
            found += [losses.learned_tokens_loss(trainer, model, batch).item()]
    test = yoda.load()["test"].select(range(N_HELD_OUT))
    prompts = [yoda.prompt(sentence) for sentence in test["sentence"]]
    answers = generation.ask_all(model, trainer.processing_class, prompts=prompts)
    return {
        "trainable": model.get_nb_trainable_parameters()[0],
        "validation_loss": round(sum(found) / len(found), 4),
        "exact_matches": sum(evaluation.exact_matches(answers, list(test["translation"]))),
    }


def main() -> None:
    """Run all variants in turn and print what each gave."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=90, help="optimizer steps (default: 90)")
    steps = parser.parse_args().steps
    from helpers import environment

    environment.quiet()
    outcome: dict[str, Any] = {
        "environment": header(),
        "steps": steps,
        "held_out_sentences": N_HELD_OUT,
        "variants": {},
    }
    for name, changes in VARIANTS.items():
        outcome["variants"][name] = {"changes": changes, **run(changes, steps)}
        print(name, outcome["variants"][name], file=sys.stderr, flush=True)
    print(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
