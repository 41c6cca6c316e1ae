"""Is a run with the same seed the same run, and a resumed run the one that was not interrupted?

Chapter 5 says yes, of a CPU. Here two fine-tunes are compared bit by bit, losses and adapter, in
each number type, with and without `torch.use_deterministic_algorithms`. The trainer is trl's, with
its own loss, the course's settings, and dropout, so that random numbers count in every step.
"""

import os

# Before 2.10 torch refuses a matrix product in its deterministic mode without this; newer ones give
# each handle and stream a workspace of its own and need no setting. It is the same in all rows, so
# that the mode is all they differ in. On an H100 it is 32 MiB, what torch takes there by itself.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import contextlib
import dataclasses
import functools
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gpu_parts import Job
from gpu_parts.small_model import given_folder, random_folder
from helpers import environment, recipe, yoda
from onegpu import quantization, training
from onegpu.memory import architectures

__all__ = ["measure", "rows"]

SHAPE = "SmolLM2-135M"  # where no model is given
PROFILE = {"bf16": "pod", "nf4": "pod", "fp16": "t4"}  # whose settings a number type trains with
DTYPE = {"bf16": torch.bfloat16, "nf4": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Run:
    """What one fine-tune left.

    Attributes:
        losses: Of each step.
        weights: Of the adapter, by name, on the CPU.
        seconds: Of the training alone.
    """

    losses: list[float]
    weights: dict[str, torch.Tensor]
    seconds: float


def rows(job: Job) -> list[dict[str, Any]]:
    """Return what is compared with what; rows with the same first run follow one another."""
    same, resumed, other = "same seed", "resumed", "another seed"
    plan = [
        ("bf16", "sdpa", False, (same, resumed, other)),
        ("bf16", "sdpa", True, (same, resumed)),
        ("nf4", "sdpa", False, (same, resumed)),
        ("fp16", "sdpa", False, (same, resumed)),
        ("nf4", "sdpa", True, (same, resumed)),
        ("bf16", "eager", False, (same,)),
        ("fp16", "sdpa", True, (same,)),
    ]
    if job.rehearse:
        plan = [
            ("bf16", "eager", True, (same, resumed)),
            ("nf4", "sdpa", False, (same,)),
            ("fp16", "sdpa", False, (other,)),
        ]
    names = ("comparison", "precision", "attention", "deterministic")
    return [
        dict(zip(names, (comparison, *setting), strict=True))
        for *setting, comparisons in plan
        for comparison in comparisons
    ]


def measure(
    job: Job, *, comparison: str, precision: str, attention: str, deterministic: bool
) -> dict[str, Any]:
    """Train twice, and compare.

    Args:
        job: See `Job`.
        comparison: `"same seed"`, `"another seed"`, or `"resumed"`: a new model goes on from the
            checkpoint that the first run wrote on its way, as after a kill.
        precision: `"bf16"`, `"fp16"` (with the loss scaled, on a card), or `"nf4"`.
        attention: As transformers spells it.
        deterministic: Whether torch may take deterministic algorithms only.

    Returns:
        What `_compared` returns, and the settings that decide; or `refused`, torch's message
        where an operation has no deterministic algorithm.

    Raises:
        RuntimeError: Training failed in another way.
    """
    settings = {"precision": precision, "attention": attention, "deterministic": deterministic}
    about = {
        "cublas_workspace": os.environ["CUBLAS_WORKSPACE_CONFIG"],
        "steps": _steps(job)[0],
        "checkpoint_at": _steps(job)[1],
        "weights": "random" if job.rehearse or job.model is None else "real",
    }
    try:
        first, folder = _first_run(job, **settings)
        if comparison == "resumed":
            checkpoint = folder / f"checkpoint-{_steps(job)[1]}"
            second, unused = _run(job, **settings, checkpoint=checkpoint)
        else:
            seed = 42 if comparison == "same seed" else 43
            second, unused = _run(job, **settings, seed=seed)
        shutil.rmtree(unused)
    except RuntimeError as error:
        if deterministic and "deterministic" in str(error):
            return about | {"refused": str(error).splitlines()[0]}
        raise
    return about | _compared(first, second)


def _steps(job: Job) -> tuple[int, int]:
    """Return how many steps a run has, and after which it writes its checkpoint."""
    return (4, 2) if job.rehearse else (12, 6)


def _compared(first: Run, second: Run) -> dict[str, Any]:
    """Return whether two runs are the same to the last bit, and how far apart they are if not."""
    pairs = list(zip(first.losses, second.losses, strict=True))
    apart = [step for step, (one, other) in enumerate(pairs, start=1) if one != other]
    weights = [(first.weights[name], second.weights[name]) for name in first.weights]
    return {
        "losses_equal": not apart,
        "weights_equal": all(torch.equal(one, other) for one, other in weights),
        "first_step_apart": apart[0] if apart else None,
        "largest_loss_difference": max(abs(one - other) for one, other in pairs),
        "largest_weight_difference": max(
            (one - other).abs().max().item() for one, other in weights
        ),
        "largest_weight": max(one.abs().max().item() for one, _ in weights),
        "losses": first.losses,
        "seconds": [round(first.seconds, 2), round(second.seconds, 2)],
    }


@functools.lru_cache(maxsize=1)
def _first_run(job: Job, **settings: Any) -> tuple[Run, Path]:
    """Return the run that several rows compare with."""
    return _run(job, **settings)


def _run(
    job: Job,
    *,
    precision: str,
    attention: str,
    deterministic: bool,
    seed: int = 42,
    checkpoint: Path | None = None,
) -> tuple[Run, Path]:
    """Fine-tune a new model; return the run, and the folder of its checkpoints."""
    from transformers import PrinterCallback, set_seed

    environment.quiet()
    set_seed(seed)
    folder = Path(tempfile.mkdtemp(dir=job.scratch))
    with _deterministic(deterministic):
        trainer = _trainer(job, folder, precision=precision, attention=attention, seed=seed)
        trainer.remove_callback(PrinterCallback)
        start = time.perf_counter()
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        seconds = time.perf_counter() - start
    losses = [point.loss for point in training.loss_history(trainer)]
    weights = {
        name: weight.detach().cpu().clone()
        for name, weight in trainer.model.named_parameters()
        if weight.requires_grad
    }
    return Run(losses, weights, seconds), folder


@contextlib.contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Let torch take deterministic algorithms only, or any; as before afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _trainer(job: Job, folder: Path, *, precision: str, attention: str, seed: int) -> Any:
    """Return a trainer with the course's settings, and a new model and adapter."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    profile = environment.PROFILES["cpu" if job.device == "cpu" else PROFILE[precision]]
    n_steps, checkpoint_at = _steps(job)
    settings = recipe.sft_settings(profile) | {
        "max_steps": n_steps,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": checkpoint_at,
        "seed": seed,
        "data_seed": 42,  # the same rows in the same order, whatever the seed
    }
    lora = recipe.lora_settings() | {"lora_dropout": 0.1}
    n_rows = n_steps * settings["per_device_train_batch_size"]
    sentences = [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:n_rows]]
    source = _source(job)
    trainer = SFTTrainer(
        model=get_peft_model(
            _base_model(job, source, precision=precision, attention=attention), LoraConfig(**lora)
        ),
        args=SFTConfig(output_dir=folder, **settings),
        train_dataset=Dataset.from_list(sentences),
        processing_class=AutoTokenizer.from_pretrained(source),
    )
    for weight in trainer.model.parameters():  # as `training.prepare` does
        if weight.requires_grad:
            weight.data = weight.data.float()
    return trainer


def _source(job: Job) -> Path:
    """Return the folder of the model: the given one, or one with random weights."""
    if job.rehearse or job.model:
        return given_folder(job)
    return random_folder(job, architectures.configuration(SHAPE))


def _base_model(job: Job, source: Path, *, precision: str, attention: str) -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    loading: dict[str, Any] = {"dtype": DTYPE[precision], "attn_implementation": attention}
    if precision == "nf4":
        loading["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=DTYPE[precision],
        )
    model = AutoModelForCausalLM.from_pretrained(source, device_map={"": job.device}, **loading)
    quantization.keep_trainable(model)
    return model
