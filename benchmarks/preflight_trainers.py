"""Check trainers of the small model, a dozen healthy ones and as many that are broken.

Each row of the record has what should be found, what was, and the seconds that the check took.
What is true of a healthy trainer and harmless there is no false alarm: that prompts are learned,
which is trl's default, and that plain text has no template. A second run adds the rows that are
missing.

usage: python benchmarks/preflight_trainers.py --out FILE
"""

import argparse
import copy
import functools
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from measuring import fill

if TYPE_CHECKING:
    from transformers import Trainer

N_ROWS = 48
HARMLESS = {"prompt-learned", "template-not-applied"}
OF_FULL = {"learning_rate": 2e-5}


def pairs() -> list[dict[str, Any]]:
    """Return prompts and completions."""
    from helpers import yoda

    return [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:N_ROWS]]


def conversations() -> list[dict[str, Any]]:
    """Return the same as messages."""
    return [{"messages": pair["prompt"] + pair["completion"]} for pair in pairs()]


def documents() -> list[dict[str, Any]]:
    """Return plain texts."""
    from helpers import yoda

    return [{"text": f"{r['sentence']} {r['translation']}"} for r in yoda.rows("train")[:N_ROWS]]


def preferences() -> list[dict[str, Any]]:
    """Return pairs of which the sentence as it was is the rejected answer."""
    from helpers import yoda

    return [
        {
            "prompt": yoda.prompt(row["sentence"]),
            "chosen": [{"role": "assistant", "content": row["translation"]}],
            "rejected": [{"role": "assistant", "content": row["sentence"]}],
        }
        for row in yoda.rows("train")[:N_ROWS]
    ]


def whole() -> Any:
    """Return the model in FP32."""
    from transformers import AutoModelForCausalLM

    from helpers import environment, models

    source = models.source(environment.profile("cpu"))
    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)


def sft(
    *, rows: list[dict[str, Any]] | None = None, full: bool = False, **settings: Any
) -> "Trainer":
    """Return Chapter 0's trainer with something changed; `full` trains all weights."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from helpers import environment, models, recipe
    from onegpu import training

    profile = environment.profile("cpu")
    lora = {**recipe.lora_settings(), **settings.pop("lora", {})}
    given = {name: settings.pop(name, None) for name in ("callbacks", "data_collator")}
    is_streamed = settings.pop("streamed", False)
    settings = {**recipe.sft_settings(profile), **(OF_FULL if full else {}), **settings}
    data = Dataset.from_list(rows or pairs())
    trainer = SFTTrainer(
        whole() if full else models.load_base_model(profile),
        args=SFTConfig(tempfile.mkdtemp(), **settings),
        train_dataset=data.to_iterable_dataset() if is_streamed else data,
        eval_dataset=Dataset.from_list((rows or pairs())[:4])
        if "eval_strategy" in settings
        else None,
        processing_class=models.load_tokenizer(profile),
        peft_config=None if full else LoraConfig(**lora),
        **given,
    )
    training.prepare(trainer)
    return trainer


def dpo(*, other: bool = False) -> "Trainer":
    """Return a trainer of preferences, whose reference may be another model."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from helpers import environment, models

    reference = whole()
    if other:
        with torch.no_grad():
            for weight in reference.parameters():
                weight.mul_(1 + 0.05 * torch.randn_like(weight))
    return DPOTrainer(
        whole(),
        reference,
        DPOConfig(
            tempfile.mkdtemp(), learning_rate=1e-6, use_cpu=True, bf16=False, report_to="none"
        ),
        train_dataset=Dataset.from_list(preferences()),
        processing_class=models.load_tokenizer(environment.profile("cpu")),
    )


def with_schedule(factor: float) -> "Trainer":
    """Return a trainer whose schedule multiplies the rate."""
    trainer = sft(full=True)
    trainer.optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=2e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        trainer.optimizer, lambda step: factor * min(1.0, (step + 1) / 5)
    )
    trainer.lr_scheduler = schedule
    return trainer


def with_optimizer(*, of_copy: bool = False, maximize: bool = False) -> "Trainer":
    """Return a trainer with an optimizer of its own."""
    trainer = sft()
    model = copy.deepcopy(trainer.model) if of_copy else trainer.model
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    trainer.optimizer = torch.optim.AdamW(weights, lr=1e-3, maximize=maximize)
    return trainer


def with_loss(loss: Callable[..., Any]) -> "Trainer":
    """Return a trainer with a loss of its own."""
    trainer = sft()
    trainer.compute_loss_func = loss
    return trainer


def with_collator(change: Callable[[dict[str, Any]], None]) -> "Trainer":
    """Return a trainer whose collator changes its batches."""
    trainer = sft()
    collate = trainer.data_collator

    def changed(rows: list[Any]) -> dict[str, Any]:
        batch = collate(rows)
        change(batch)
        return batch

    trainer.data_collator = changed
    return trainer


def cross_entropy(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Return the usual loss."""
    logits = outputs.logits[:, :-1].float().transpose(1, 2)
    return torch.nn.functional.cross_entropy(logits, labels[:, 1:])


def unshifted(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Return a loss in which each position is asked for its own token."""
    logits = outputs.logits.float().transpose(1, 2)
    return torch.nn.functional.cross_entropy(logits, labels)


def shift_labels(batch: dict[str, Any]) -> None:
    """Shift labels, although the model does."""
    batch["labels"] = batch["labels"].roll(-1, 1)


def invert_mask(batch: dict[str, Any]) -> None:
    """Hide the words, and show the padding."""
    batch["attention_mask"] = 1 - batch["attention_mask"]


def swap_answers() -> list[dict[str, Any]]:
    """Return rows each of which has the next row's answer."""
    rows = pairs()
    answers = [row["completion"] for row in rows]
    return [
        {**row, "completion": answer}
        for row, answer in zip(rows, [*answers[1:], answers[0]], strict=True)
    ]


def in_bfloat16() -> "Trainer":
    """Return a trainer whose adapter is too coarse for its rate."""
    trainer = sft(learning_rate=5e-5)
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.bfloat16()
    return trainer


def kept(*, greater_is_better: bool) -> "Trainer":
    """Return a trainer that loads its best checkpoint at the end."""
    return sft(
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=greater_is_better,
    )


HEALTHY: dict[str, Callable[[], "Trainer"]] = {
    "Chapter 0": sft,
    "DoRA": lambda: sft(lora={"use_dora": True}),
    "all weights": lambda: sft(full=True),
    "packed": lambda: sft(packing=True),
    "messages": lambda: sft(rows=conversations(), assistant_only_loss=True),
    "documents, wrapped": lambda: sft(
        rows=documents(), packing=True, packing_strategy="wrapped", full=True
    ),
    "a stream": lambda: sft(streamed=True, max_steps=12),
    "NEFTune": lambda: sft(neftune_noise_alpha=5),
    "the lowest loss is kept": lambda: kept(greater_is_better=False),
    "a schedule of its own": lambda: with_schedule(0.1),
    "an optimizer of its own": with_optimizer,
    "a loss of its own": lambda: with_loss(cross_entropy),
    "DPO": dpo,
}
BROKEN: dict[str, tuple[str, Callable[[], "Trainer"]]] = {
    "the rate squared": ("learning-rate", lambda: with_schedule(2e-4)),
    "loud noise": ("loss-too-high", lambda: sft(neftune_noise_alpha=500)),
    "the highest loss is kept": ("worst-kept", lambda: kept(greater_is_better=True)),
    "DPO, another reference": ("reference-differs", lambda: dpo(other=True)),
    "an optimizer of a copy": ("wrong-copy", lambda: with_optimizer(of_copy=True)),
    "uphill": ("loss-rises", lambda: with_optimizer(maximize=True)),
    "a coarse adapter": ("updates-rounded", in_bfloat16),
    "gradients clipped away": ("gradients-tiny", lambda: sft(max_grad_norm=1e-9)),
    "answers swapped": ("answers-swapped", lambda: sft(rows=swap_answers())),
    "labels shifted twice": ("labels-shifted", lambda: with_collator(shift_labels)),
    "a mask inverted": ("attention-masked", lambda: with_collator(invert_mask)),
    "a loss without a shift": ("labels-shifted", lambda: with_loss(unshifted)),
    "answers cut": ("completion-cut", lambda: sft(max_length=36)),
}


def check(build: Callable[[], "Trainer"], expected: str | None) -> dict[str, Any]:
    """Build a trainer and check it."""
    from helpers import environment
    from onegpu import preflight

    environment.quiet()
    gc.collect()  # the model of the last trainer
    trainer = build()
    start = time.monotonic()
    found = preflight.check(trainer)
    seconds = time.monotonic() - start
    is_right = expected in found.codes if expected else set(found.codes) <= HARMLESS
    return {
        "expected": expected,
        "found": found.codes,
        "right": is_right,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Check each trainer that the record does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    jobs = {name: functools.partial(check, build, None) for name, build in HEALTHY.items()}
    for name, (code, build) in BROKEN.items():
        jobs[name] = functools.partial(check, build, code)
    rows = fill(parser.parse_args().out, jobs, n_rows=N_ROWS)["rows"]
    for kind, names in (("healthy", HEALTHY), ("broken", BROKEN)):
        print(f"{sum(rows[name]['right'] for name in names)} of {len(names)} {kind} ones right")


if __name__ == "__main__":
    main()
