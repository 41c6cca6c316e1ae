"""What the benchmarks that fine-tune Yoda share: one training, what it taught, what it cost."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import SFTTrainer

__all__ = ["N_HELD_OUT", "N_VALIDATION", "SEEDS", "fine_tuned", "kept", "known", "learned"]

SEEDS = (42, 43, 44)
N_HELD_OUT, N_VALIDATION = 40, 60
# Asked without the instruction that training used. None is about Yoda, none has one short answer.
QUESTIONS = (
    "Why is the sky blue?",
    "How do I boil an egg?",
    "Write a sentence about a dog.",
    "What should I pack for a rainy day?",
    "Explain what a computer does.",
    "Tell me about the moon.",
    "How can I sleep better?",
    "What is a good name for a cat?",
    "Why do leaves fall in autumn?",
    "Describe a market in the morning.",
    "What is the difference between a lake and a sea?",
    "Give me a tip for learning a language.",
    "What do bees do all day?",
    "How does a bicycle stay upright?",
    "Write two sentences about friendship.",
    "Why do we need water?",
    "What can I cook with potatoes?",
    "Tell me something about Rome.",
    "How do I write a letter to a friend?",
    "What makes a good teacher?",
)


def fine_tuned(
    base: "PreTrainedModel",
    *,
    lora: dict[str, Any] | None,
    seed: int,
    steps: int,
    to_row: "Callable[[dict[str, Any]], dict[str, Any]] | None" = None,
    train: "Sequence[dict[str, Any]] | None" = None,
    tokenizer: Any = None,
    **changes: Any,
) -> "SFTTrainer":
    """Train a model as Chapter 0 does, but for what is changed.

    Args:
        base: The base model. It is changed in place.
        lora: Arguments of `LoraConfig`; without it all weights are trained.
        seed: Of the adapter's first values and of the order of the rows.
        steps: Optimizer steps.
        to_row: Makes a training row of a row of the data, in place of Chapter 0's way.
        train: Training rows, as prompt and completion, in place of Chapter 0's.
        tokenizer: In place of the model's own.
        **changes: Arguments of `SFTConfig` that differ from Chapter 0's.

    Returns:
        The trainer, after training.
    """
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    from helpers import environment, models, recipe, yoda
    from onegpu import training

    profile = environment.profile("cpu")
    set_seed(seed)
    data = {
        name: split.map(to_row or yoda.to_prompt_completion, remove_columns=split.column_names)
        for name, split in yoda.load().items()
    }
    settings = recipe.sft_settings(profile) | {"max_steps": steps, "seed": seed} | changes
    trainer = SFTTrainer(
        model=get_peft_model(base, LoraConfig(**lora)) if lora else base,
        args=SFTConfig(output_dir=environment.runs_folder() / "checkpoints", **settings),
        train_dataset=Dataset.from_list(list(train)) if train else data["train"],
        eval_dataset=data["validation"].select(range(N_VALIDATION)),
        processing_class=tokenizer or models.load_tokenizer(profile),
    )
    training.prepare(trainer)
    with contextlib.redirect_stdout(sys.stderr):
        trainer.train()
    trainer.model.eval()
    return trainer


def learned(trainer: "SFTTrainer") -> dict[str, Any]:
    """Return the loss on the validation split, and exact matches on held-out sentences."""
    import torch

    from helpers import yoda
    from onegpu import evaluation, generation, losses

    found = []
    with torch.inference_mode():
        for batch in trainer.get_eval_dataloader():
            found += [losses.learned_tokens_loss(trainer, trainer.model, batch).item()]
    test = yoda.load()["test"].select(range(N_HELD_OUT))
    prompts = [yoda.prompt(sentence) for sentence in test["sentence"]]
    answers = generation.ask_all(trainer.model, trainer.processing_class, prompts=prompts)
    return {
        "validation_loss": round(sum(found) / len(found), 4),
        "exact_matches": sum(evaluation.exact_matches(answers, list(test["translation"]))),
    }


def kept(model: "PreTrainedModel", tokenizer: Any) -> dict[str, Any]:
    """Return what `known` does, and answers to ordinary questions."""
    from onegpu import generation

    asked = [[{"role": "user", "content": question}] for question in QUESTIONS]
    answers = generation.ask_all(model, tokenizer, prompts=asked, max_new_tokens=40)
    return {**known(model, tokenizer), "answers": dict(zip(QUESTIONS, answers, strict=True))}


def known(model: "PreTrainedModel", tokenizer: Any) -> dict[str, Any]:
    """Return how a model does at what training was not about.

    Returns:
        The perplexity of a story, and of fifty capitals, how many it names to the letter, and at
        all.
    """
    from helpers import texts
    from onegpu import evaluation, generation

    story = evaluation.token_losses(model, tokenizer, text=texts.story()).mean().exp().item()
    prompts, references = texts.capitals()
    capitals = generation.ask_all(model, tokenizer, prompts=prompts)
    return {
        "story_perplexity": round(story, 2),
        "capitals": sum(evaluation.exact_matches(capitals, references)),
        "capitals_named": sum(
            reference.split(" is ")[1].rstrip(".") in answer
            for answer, reference in zip(capitals, references, strict=True)
        ),
    }
