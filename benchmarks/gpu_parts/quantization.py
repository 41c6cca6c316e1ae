"""What fewer bits cost: Chapter 2's table on a card, at one user and at sixteen.

The same story and the same questions as in the chapter, so that its columns of a CPU and these can
stand side by side. Times are of the whole call, after one to warm up.
"""

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from gpu_parts import Job
from gpu_parts.small_model import given_folder
from helpers import texts
from onegpu import evaluation, generation, messages, quantization

__all__ = ["measure", "rows"]

VARIANTS: dict[str, dict[str, Any]] = {
    "BF16": {"dtype": torch.bfloat16},
    "NF4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "INT8": {"load_in_8bit": True},
    "FP32": {"dtype": torch.float32},
    "FP16": {"dtype": torch.float16},
    "FP4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "NF4, double": {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    },
    "FP32, TF32": {"dtype": torch.float32},  # matrix products with 10 bits behind the point
}
BATCHES = (1, 16)
N_NEW_TOKENS = 16


def rows(job: Job) -> list[dict[str, Any]]:
    """Return a row a variant of the model; of each kind one in a rehearsal."""
    names = ("BF16", "INT8", "NF4, double", "FP32, TF32") if job.rehearse else VARIANTS
    return [{"variant": name} for name in names]


def measure(job: Job, *, variant: str) -> dict[str, Any]:
    """Load the model one way; return its bytes, its errors and its times.

    Args:
        job: See `Job`.
        variant: A key of `VARIANTS`.

    Returns:
        `weights_bytes` as `quantization.inspect` counts them, and `allocated_bytes` as the card's
        allocator does; `perplexity` of the story, whose `tokens` are counted; `nats_more`, the mean
        loss of a token above FP32's, with `half_interval`, 1.96 standard errors of it;
        `right_of_50`; and for each of `BATCHES` the milliseconds of a pass over as many copies of
        the story, and of generating `new_tokens` for as many questions.

    Raises:
        ValueError: See `given_folder`.
    """
    from transformers.utils.logging import disable_progress_bar

    messages.hide_known()
    disable_progress_bar()
    folder = given_folder(job)
    with _tf32(variant.endswith("TF32")):
        before = torch.cuda.memory_allocated()  # 0 where there is no card
        model, tokenizer = _load(folder, job, VARIANTS[variant])
        figures: dict[str, Any] = {
            "weights_bytes": sum(row.n_bytes for row in quantization.inspect(model)),
            "allocated_bytes": torch.cuda.memory_allocated() - before,
        }
        figures |= _quality(job, folder, model, tokenizer)
        with generation.evaluating(model), torch.inference_mode():
            figures["batches"] = {
                str(size): _times(job, model, tokenizer, batch=size) for size in BATCHES
            }
    return figures


@contextlib.contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Let matrix products of FP32 numbers take TF32, or not; as before afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _load(folder: Path, job: Job, settings: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    if "dtype" not in settings:
        if settings.get("load_in_4bit"):
            settings = settings | {"bnb_4bit_compute_dtype": torch.bfloat16}
        quantized = BitsAndBytesConfig(**settings)
        settings = {"dtype": torch.bfloat16, "quantization_config": quantized}
    model = AutoModelForCausalLM.from_pretrained(folder, device_map={"": job.device}, **settings)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@functools.cache
def _losses_in_fp32(folder: Path, job: Job) -> torch.Tensor:
    """Return the losses that every variant is compared with, token by token."""
    with _tf32(False):
        model, tokenizer = _load(folder, job, VARIANTS["FP32"])
        return evaluation.token_losses(model, tokenizer, text=_story(job))


def _story(job: Job) -> str:
    return texts.story()[:100] if job.rehearse else texts.story()


def _quality(job: Job, folder: Path, model: Any, tokenizer: Any) -> dict[str, Any]:
    losses = evaluation.token_losses(model, tokenizer, text=_story(job))
    more = losses - _losses_in_fp32(folder, job)
    prompts, capitals = texts.capitals()
    answers = generation.ask_all(
        model, tokenizer, prompts=prompts, max_new_tokens=N_NEW_TOKENS, batch_size=50
    )
    return {
        "tokens": len(losses) + 1,
        "perplexity": round(losses.mean().exp().item(), 3),
        "nats_more": round(more.mean().item(), 5),
        "half_interval": round(1.96 * more.std().item() / len(more) ** 0.5, 5),
        "right_of_50": sum(evaluation.exact_matches(answers, capitals)),
    }


def _times(job: Job, model: Any, tokenizer: Any, *, batch: int) -> dict[str, Any]:
    story = tokenizer(_story(job), return_tensors="pt")["input_ids"].to(job.device)
    tokens = story.repeat(batch, 1)  # (batch, seq)
    prompts = tokenizer.apply_chat_template(
        texts.capitals()[0][:batch],
        add_generation_prompt=True,
        padding=True,
        return_dict=True,
        return_tensors="pt",
        tokenizer_kwargs={"padding_side": "left"},
    ).to(job.device)
    exactly = {"min_new_tokens": N_NEW_TOKENS, "max_new_tokens": N_NEW_TOKENS}
    return {
        "pass_ms": _milliseconds(job, lambda: model(tokens), n_times=9),
        "generation_ms": _milliseconds(
            job, lambda: model.generate(**prompts, **exactly, do_sample=False), n_times=3
        ),
        "new_tokens": N_NEW_TOKENS,
    }


def _milliseconds(job: Job, call: Callable[[], Any], *, n_times: int) -> dict[str, float]:
    """Return the median, the shortest and the longest of several calls."""
    call()  # warms up
    found = []
    for _ in range(1 if job.rehearse else n_times):
        _wait(job)
        start = time.perf_counter()
        call()
        _wait(job)
        found.append(1000 * (time.perf_counter() - start))
    middle = statistics.median(found)
    times = {"median": middle, "shortest": min(found), "longest": max(found)}
    return {name: round(value, 3) for name, value in times.items()}


def _wait(job: Job) -> None:
    if job.device == "cuda":
        torch.cuda.synchronize()
