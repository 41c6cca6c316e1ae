"""The training settings of a profile, the loss history, and the adapter that chapters share.

Taught in: notebooks/00_tldr.ipynb
"""

import dataclasses
import importlib.metadata
import json
import shutil
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.environment import Profile, quiet, runs_folder
from helpers.environment import profile as machine_profile
from helpers.models import load_base_model, load_tokenizer

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset
    from trl import SFTTrainer

__all__ = [
    "LossPoint",
    "adapter_folder",
    "learned_tokens_loss",
    "lora_settings",
    "loss_history",
    "prepare",
    "read_report",
    "recorded_ways",
    "sft_settings",
    "write_report",
    "yoda_adapter",
]

REPORT = "report.json"


def lora_settings() -> dict[str, Any]:
    """Return the keyword arguments of `peft.LoraConfig`, the same for every profile.

    Example:
        >>> lora_settings()["r"]
        16

    Taught in: notebooks/00_tldr.ipynb
    Source: Dettmers et al. 2023, QLoRA, section 4: adapters on every linear layer,
        https://arxiv.org/abs/2305.14314
    """
    return {
        "r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
    }


def sft_settings(profile: Profile) -> dict[str, Any]:
    """Return the keyword arguments of `trl.SFTConfig` for a profile.

    Args:
        profile: From `environment.profile()`.

    Returns:
        Everything but `output_dir`. On `cpu` nothing is autocast, since the model computes in
        the number type it was loaded in; `t4` autocasts to float16 and `pod` to bfloat16.

    Example:
        >>> from helpers.environment import PROFILES
        >>> sft_settings(PROFILES["cpu"])["num_train_epochs"]
        1

    Taught in: notebooks/00_tldr.ipynb
    """
    of_profile = {
        "cpu": {"per_device_train_batch_size": 4, "learning_rate": 1e-3},
        "t4": {"per_device_train_batch_size": 8, "learning_rate": 3e-4},
        "pod": {"per_device_train_batch_size": 8, "learning_rate": 2e-4},
    }
    return {
        **of_profile[profile.name],
        "num_train_epochs": 1,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 5,
        "max_length": 128,
        "activation_checkpointing": False,
        "use_cpu": profile.name == "cpu",
        "bf16": profile.name == "pod",
        "fp16": profile.name == "t4",
        "seed": 42,
        "logging_steps": 10,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": profile.device == "cuda",
    }


def prepare(trainer: "SFTTrainer") -> None:
    """Change three things in a trainer that no setting of trl 1.16 changes.

    - The adapter's weights become float32. On a 4-bit base trl makes them bfloat16, in which
      the last small updates are rounded away, and which a T4's loss scaler refuses.
    - On a CPU the loss is `learned_tokens_loss`. trl's own is written for the GPU: without
      Triton it computes the vocabulary's logits at every position, those of the prompt too,
      and computes them again in the backward pass.
    - A line that tells step, loss and remaining time, and is gone at the end, takes the place
      of the printed logs.

    Args:
        trainer: Before `train()`. It is changed in place.

    Taught in: notebooks/00_tldr.ipynb
    """
    from transformers import PrinterCallback

    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    if trainer.args.device.type == "cpu":
        trainer.compute_loss = types.MethodType(learned_tokens_loss, trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_progress_line())


def learned_tokens_loss(
    trainer: "SFTTrainer",
    model: Any,
    inputs: dict[str, Any],
    return_outputs: bool = False,
    num_items_in_batch: Any = None,
) -> Any:
    """Return the mean cross-entropy of the learned tokens, in nats a token.

    It equals `SFTTrainer.compute_loss`, and computes logits only at positions that are followed
    by a learned token in some row of the batch.

    Args:
        trainer: Unused; `Trainer` calls this as a method.
        model: A causal language model.
        inputs: `input_ids`, `attention_mask` and `labels`, each of shape (batch, seq).
        return_outputs: Also return the model's output.
        num_items_in_batch: What to divide the sum by; without it, the number of learned tokens.

    Returns:
        The loss as a scalar tensor, with the model's output if asked for.
    """
    import torch

    inputs = dict(inputs)
    following = torch.nn.functional.pad(inputs.pop("labels")[:, 1:], (0, 1), value=-100)
    positions = (following != -100).any(dim=0).nonzero().squeeze(1)
    following = following[:, positions]  # (batch, positions)
    outputs = model(**inputs, use_cache=False, logits_to_keep=positions)
    logits = outputs.logits.float()  # (batch, positions, vocab)
    total = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), following.flatten(), ignore_index=-100, reduction="sum"
    )
    count = (following != -100).sum() if num_items_in_batch is None else num_items_in_batch
    return (total / count, outputs) if return_outputs else total / count


def _progress_line() -> Any:
    """Return a callback that shows one line of progress, and clears it at the end."""
    from IPython.display import clear_output
    from transformers import TrainerCallback

    class ProgressLine(TrainerCallback):
        start, loss = 0.0, ""

        def on_train_begin(self, args, state, control, **kwargs):
            self.start = time.monotonic()

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in (logs or {}):
                self.loss = f"loss {float(logs['loss']):.3f}, "

        def on_step_end(self, args, state, control, **kwargs):
            passed = time.monotonic() - self.start
            left = passed / state.global_step * (state.max_steps - state.global_step)
            clear_output(wait=True)
            step = f"step {state.global_step} of {state.max_steps}"
            print(f"{step}, {self.loss}about {left:.0f} s left", end="", flush=True)

        def on_train_end(self, args, state, control, **kwargs):
            clear_output()

    return ProgressLine()


@dataclasses.dataclass(frozen=True)
class LossPoint:
    """One logged point of a training run.

    Attributes:
        step: Optimizer step.
        loss: Mean loss of the learned tokens since the point before, in nats a token.
    """

    step: int
    loss: float


def loss_history(trainer: "SFTTrainer") -> list[LossPoint]:
    """Return the losses that a trainer logged.

    Args:
        trainer: After `train()`.

    Returns:
        A point every `logging_steps` steps.

    Raises:
        ValueError: The trainer has not trained, or logged nothing.

    Taught in: notebooks/00_tldr.ipynb
    """
    logs = [log for log in trainer.state.log_history if "loss" in log]
    if not logs:
        raise ValueError("no loss was logged: call trainer.train() first, with logging_steps set")
    return [LossPoint(int(log["step"]), float(log["loss"])) for log in logs]


def recorded_ways() -> "pd.DataFrame":
    """Return how trl's defaults, each remedy alone, and the profile's settings compared on a CPU.

    Returns:
        A row for each way that `benchmarks/training.py` trained, with the columns `seconds`,
        `time` (1 for trl's defaults with the profile's learning rate), `tokens_per_second`,
        `peak_gib` (of the process) and `exact_matches` (of 40).

    Example:
        >>> float(recorded_ways().loc["rate", "time"])
        1.0

    Taught in: notebooks/05_training.ipynb
    """
    import pandas as pd

    path = Path(__file__).parent / "data" / "recorded" / "training_cpu.json"
    record = json.loads(path.read_text("utf-8"))
    rows = {
        way: {
            "seconds": round(report["train"]["seconds"]),
            "time": record["time_over_rate"][way],
            "tokens_per_second": round(report["train"]["tokens_per_second"]),
            "peak_gib": round(report["train"]["peak_gib"], 1),
            "exact_matches": report["exact_matches"],
        }
        for way, report in record["ways"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


# The adapter that the chapters share ------------------------------------------------------------


def adapter_folder(profile: Profile) -> Path:
    """Return where the Yoda adapter of a profile's base model lies, or will lie.

    Example:
        >>> from helpers.environment import PROFILES
        >>> adapter_folder(PROFILES["cpu"]).name
        'yoda-SmolLM2-135M-Instruct'
    """
    return runs_folder() / f"yoda-{Path(profile.base_model).name}"


def write_report(
    folder: Path,
    *,
    profile: Profile,
    results: Mapping[str, Any],
    changed: Mapping[str, Any] | None = None,
) -> None:
    """Write beside an adapter what it takes to make it again, and how well it does.

    Its presence marks the folder as complete, so write it last.

    Args:
        folder: Where the adapter was saved.
        profile: The profile that trained it.
        results: Scores and examples, of types that JSON knows.
        changed: Settings of `SFTConfig` that were not those of `sft_settings`.

    Taught in: notebooks/00_tldr.ipynb
    """
    packages = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets")
    report = {
        "recipe": _recipe(profile, changed or {}),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "results": dict(results),
    }
    (folder / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False), "utf-8")


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return what `write_report` wrote, or nothing where there is no complete adapter."""
    try:
        return json.loads((folder / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _recipe(profile: Profile, changed: Mapping[str, Any]) -> dict[str, Any]:
    settings = {"lora": lora_settings(), "sft": {**sft_settings(profile), **changed}}
    return {"base_model": profile.base_model, "precision": profile.precision, **settings}


def yoda_adapter(profile: Profile | None = None) -> Path:
    """Return the folder of the Yoda adapter, training it first where it is not there yet.

    An adapter made by another recipe (base model, number type, settings) is trained anew.

    Args:
        profile: From `environment.profile()`, which is taken without it.

    Returns:
        A folder with the adapter, the tokenizer and `report.json`.

    Raises:
        ValueError: See `models.source`.
        RuntimeError: See `models.source`.

    Taught in: notebooks/03_lora.ipynb
    """
    profile = profile or machine_profile()
    folder = adapter_folder(profile)
    report = read_report(folder)
    if report and report["recipe"] == _recipe(profile, {}):
        return folder
    from helpers import yoda

    quiet()
    rows = yoda.load()["train"]
    train = rows.map(yoda.to_prompt_completion, remove_columns=rows.column_names)
    trainer = _train(profile, train)
    shutil.rmtree(folder, ignore_errors=True)
    trainer.model.save_pretrained(folder)
    trainer.processing_class.save_pretrained(folder)
    write_report(folder, profile=profile, results={})
    return folder


def _train(profile: Profile, train: "Dataset") -> "SFTTrainer":
    """Train an adapter as Chapter 0 does, step by step."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    set_seed(42)
    model = get_peft_model(load_base_model(profile), LoraConfig(**lora_settings()))
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=runs_folder() / "checkpoints", **sft_settings(profile)),
        train_dataset=train,
        processing_class=load_tokenizer(profile),
    )
    prepare(trainer)
    trainer.train()
    return trainer
