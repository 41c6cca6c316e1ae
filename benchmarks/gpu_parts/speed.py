"""Tokens a second and peak memory of one LoRA fine-tune, made in every way that the stack offers.

Random weights of SmolLM2-1.7B's shape, since speed does not depend on values, and the same rows of
random tokens for all. A pass over the rows is timed as a whole: it has the same tokens, whatever a
step holds. Only real tokens are counted, no padding. The rows that imitate a T4 have its memory,
FP16, and of SDPA's kernels those that run on it, but not its speed.
"""

import contextlib
import functools
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpu_parts import Job
from gpu_parts.fine_tune import row_lengths, row_set, timed, word_tokenizer
from gpu_parts.floor import floor, operations, rates, weight_bytes
from gpu_parts.random_weights import random_model
from gpu_parts.speed_rows import LONGEST, rows
from gpu_parts.varlen import register

__all__ = ["measure", "rows"]

MODEL = "SmolLM2-1.7B"
# Number of rows, their median, shortest and longest: of a card and of a rehearsal.
ROWS, TINY_ROWS = (64, 200, 30, LONGEST), (4, 12, 6, 24)
UNSLOTH_SECONDS = 100  # after which its process is stopped
TELLING = re.compile("Xformers|[Pp]adding-free|[Pp]acking")  # what Unsloth chose by itself
KERNELS_OF_T4 = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def measure(job: Job, **row: Any) -> dict[str, Any]:
    """Measure a rate of the card, or fine-tune in one way.

    Args:
        job: See `Job`.
        **row: One of `rows`. `rate` is a number type or `"copy"`. Else `variant` is its name,
            `trainer` who trains; `weights`, `dtype` and `adapter` are number types of the frozen
            layers, of everything else that is frozen, and of the adapter; `attention` is as
            transformers spells it; without `casts` peft leaves an adapter's input as it is, which
            autocast rounds back anyway; `compiled` layers; and `settings` are those of `SFTConfig`.

    Returns:
        `per_second` of a rate, three times. Else what `timed` returns, with the `tokens` of a pass,
        `tokens_per_second` of each, and the floor of its seconds. `refused` and a reason where a
        package or a kernel is missing.
    """
    if "rate" in row:
        return {"per_second": rates(job.device)[row["rate"]]}
    lengths = _lengths(job)
    settings = row["settings"] | {"output_dir": str(job.scratch / "checkpoints")}
    row = row | {"settings": settings} | (_as_on_cpu(row, settings) if job.rehearse else {})
    try:
        figures = (_unsloth if row["trainer"] == "Unsloth" else _trl)(job, row, lengths)
    except ImportError as error:
        return {"refused": str(error)}
    if "seconds" not in figures:  # the other process refused, or ran out of memory
        return figures
    n_tokens = sum(lengths)
    figures |= {"tokens": n_tokens}
    figures["tokens_per_second"] = [n_tokens / seconds for seconds in figures["seconds"]]
    return figures | _floor(job, row, lengths, figures["steps"])


def _lengths(job: Job) -> list[int]:
    n_rows, median, shortest, longest = TINY_ROWS if job.rehearse else ROWS
    return row_lengths(n_rows, median=median, shortest=shortest, longest=longest)


def _config(job: Job) -> Any:
    from onegpu.memory.architectures import configuration

    config = configuration(MODEL)
    if job.rehearse:
        config.num_hidden_layers, config.vocab_size, config.intermediate_size = 1, 128, 128
        config.hidden_size, config.num_attention_heads, config.num_key_value_heads = 64, 2, 2
        config.head_dim = 32
    return config


def _as_on_cpu(row: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return what of a row must change on a CPU: no FP16 scaler, no Triton, and little time."""
    settings = settings | {"use_cpu": True, "dataloader_pin_memory": False, "fp16": False}
    settings |= {"use_liger_kernel": False, "bf16": settings.get("bf16", True)}
    settings |= {"num_train_epochs": 2}
    flex = row["attention"] == "flex_attention"
    weights = "bfloat16" if row["weights"] == "float16" else row["weights"]
    return {
        "settings": settings,
        "dtype": "bfloat16",
        "weights": weights,
        "attention": "sdpa" if flex else row["attention"],
    }


def _floor(job: Job, row: dict[str, Any], lengths: list[int], n_steps: int) -> dict[str, Any]:
    from helpers.recipe import lora_settings

    settings = row["settings"]
    # trl checkpoints where nobody says otherwise; what Unsloth recomputes is its own affair.
    checkpointing = settings.get("activation_checkpointing", row["trainer"] == "trl")
    config, measured = _config(job), rates(job.device)
    rank = lora_settings()["r"]
    n_bytes = weight_bytes(
        config, weights=row["weights"], dtype=row["dtype"], checkpointing=checkpointing
    )
    return floor(
        operations(config, lengths, rank=rank, checkpointing=checkpointing),
        n_bytes * n_steps,
        rate=max(measured[row["dtype"]]),
        bandwidth=max(measured["copy"]),
    )


@functools.cache
def _import_everything() -> None:
    """Import what training needs, and spare the many collections of garbage a search of it all."""
    import peft
    import trl

    del peft, trl
    gc.collect()
    gc.freeze()


def _trl(job: Job, row: dict[str, Any], lengths: list[int]) -> dict[str, Any]:
    _import_everything()
    before = torch.cuda.memory_allocated() if job.device == "cuda" else None
    with _kernels(capped=row["capped"]), _undone():
        figures = timed(_trainer(job, row, lengths), device=job.device)
    return figures | {"allocated_before_bytes": before}


def _trainer(job: Job, row: dict[str, Any], lengths: list[int]) -> Any:
    """Return trl's trainer of a row."""
    from peft import LoraConfig
    from peft.tuners.tuners_utils import BaseTunerLayer
    from trl import SFTConfig, SFTTrainer

    from helpers.recipe import lora_settings

    config = _config(job)
    if row["attention"] == "varlen":
        register()
    quantized = row["weights"] == "nf4-double"
    model = random_model(
        config,
        device=job.device,
        dtype=getattr(torch, row["dtype"] if quantized else row["weights"]),
        attention=row["attention"],
        quantization="nf4-double" if quantized else None,
    )
    if row["compiled"]:
        _compile_layers(model, backend="inductor" if job.device == "cuda" else "eager")
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**row["settings"]),
        train_dataset=row_set(lengths, vocabulary=config.vocab_size),
        processing_class=word_tokenizer(config.vocab_size),
        peft_config=LoraConfig(**lora_settings()),
    )
    for module in trainer.model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = row["casts"]
    for weight in trainer.model.parameters():
        if weight.requires_grad:  # as `onegpu.training.prepare` does
            weight.data = weight.data.to(getattr(torch, row["adapter"]))
    return trainer


def _compile_layers(model: Any, *, backend: str) -> None:
    """Compile a layer at a time, so that all share what is compiled once, for every length."""
    model.enable_input_require_grads()  # or the first layer would be another case
    for layer in model.model.layers:
        layer.compile(backend=backend, dynamic=True)


@contextlib.contextmanager
def _kernels(*, capped: bool) -> Iterator[None]:
    """Offer SDPA the kernels that a T4 has, if it is imitated."""
    with sdpa_kernel(KERNELS_OF_T4) if capped else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _undone() -> Iterator[None]:
    """Undo afterwards what outlives a model: Liger's patches of its module, compiled code."""
    from transformers.models.llama import modeling_llama

    names = vars(modeling_llama)
    before = dict(names)
    try:
        yield
    finally:
        names.update(before)
        torch._dynamo.reset()


def _unsloth(job: Job, row: dict[str, Any], lengths: list[int]) -> dict[str, Any]:
    """Let Unsloth train, in a process with its own versions of trl and transformers."""
    if not (job.unsloth or job.rehearse):
        raise ImportError("no folder with Unsloth was given")
    folder = _saved_base(job)
    task = {"row": row, "base": str(folder), "lengths": lengths, "device": job.device}
    task |= {"vocabulary": _config(job).vocab_size, "memory_gib": job.memory_gib}
    question, answer = job.scratch / "unsloth.json", job.scratch / "unsloth_figures.json"
    answer.unlink(missing_ok=True)
    question.write_text(json.dumps(task), "utf-8")
    here = Path(__file__).resolve().parents[1]
    paths = [str(job.unsloth.resolve())] if job.unsloth else []
    paths += [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, "-m", "gpu_parts.unsloth_run", str(question), str(answer)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        cwd=job.scratch,
        timeout=UNSLOTH_SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"its process failed: {(result.stdout + result.stderr)[-4000:]}")
    said = [line.strip() for line in result.stdout.splitlines() if TELLING.search(line)]
    return json.loads(answer.read_text("utf-8")) | {"said": said}


def _saved_base(job: Job) -> Path:
    """Return a folder with the random model and its tokenizer, made at the first call."""
    folder = job.scratch / "base"
    if not folder.exists():
        config = _config(job)
        model = random_model(config, device=job.device, dtype=torch.bfloat16)
        model.save_pretrained(folder)
        word_tokenizer(config.vocab_size).save_pretrained(folder)
        del model
    gc.collect()
    if job.device == "cuda":
        torch.cuda.empty_cache()  # it all belongs to the other process now
    return folder
