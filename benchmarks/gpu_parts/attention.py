"""Milliseconds and MiB of one attention layer, forward and backward, by every kernel there is.

In BF16, with the heads of two models, 16,384 tokens each time: 32 rows of 512, or one of 16,384, or
what lies between. The rows are full; or padded, a mask saying where they end; or packed with
documents that must not see each other. A kernel that refuses is a finding, and so is one that runs
out of memory. The calls are those of transformers: a mask of booleans for SDPA, one that is added
for eager; keys repeated for the query's heads where there is a mask, `enable_gqa` where there is
none; padding taken out for the kernels that are told where rows end.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import torch

from gpu_parts import Job
from gpu_parts.attention_kernels import FILLED, KERNELS, PACKAGES, batch_of, kernel_of

__all__ = ["measure", "rows"]

SHAPES = {"SmolLM2-1.7B": (32, 32, 64), "Qwen3-4B": (32, 8, 128)}  # heads, of keys, head_dim
TOKENS, TOKENS_CPU = 16384, 128  # of all rows together
LENGTHS = (2048, 8192, 512, 16384)
N_TIMES = 5
MIB = 2**20


def rows(job: Job) -> list[dict[str, Any]]:
    """Return a row a kernel, shape and batch; FlexAttention, which compiles each time, is last."""
    lengths = (64,) if job.rehearse else LENGTHS
    kernels = [
        name
        for name in KERNELS
        if job.rehearse or name not in PACKAGES or importlib.util.find_spec(PACKAGES[name])
    ]
    found = [
        {"shape": shape, "length": length, "filled": filled, "kernel": kernel}
        for length in lengths
        for shape in SHAPES
        for filled in FILLED
        for kernel in kernels
        if kernel != "FlexAttention" or (filled == "packed" and length in (64, 2048, 16384))
    ]
    return sorted(found, key=lambda row: row["kernel"] == "FlexAttention")


def measure(job: Job, *, shape: str, length: int, filled: str, kernel: str) -> dict[str, Any]:
    """Time a kernel.

    Args:
        job: See `Job`.
        shape: A key of `SHAPES`.
        length: Tokens of a row.
        filled: One of `FILLED`.
        kernel: One of `KERNELS`.

    Returns:
        `forward_ms` and `backward_ms` (5 times each), `extra_mib` that forward and backward need at
        their peak beside inputs and mask (None on a CPU), `mask_mib`, and the number of `tokens`
        that are no padding. Or `refused`, with the reason.

    Raises:
        torch.OutOfMemoryError: It needs more than there is.
        torch.AcceleratorError: It broke the card's context, in which nothing works any more.
    """
    n_rows = (TOKENS_CPU if job.rehearse else TOKENS) // length
    batch = batch_of(filled, n_rows=n_rows, length=length, device=job.device)
    heads, key_heads, head_dim = SHAPES[shape]
    torch.manual_seed(0)
    query, key, value, gradient = (
        torch.randn(n_rows, n, length, head_dim, device=job.device, dtype=torch.bfloat16)
        for n in (heads, key_heads, key_heads, heads)
    )
    inputs = [tensor.requires_grad_() for tensor in (query, key, value)]
    try:
        call, mask = kernel_of(kernel, batch, dtype=query.dtype)
        figures = _timed(lambda: call(*inputs), inputs, gradient, device=job.device)
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except (ImportError, RuntimeError) as error:  # NotImplementedError is one of the latter
        return {"refused": str(error)[:500]}
    n_tokens = len(batch.real) if batch.real is not None else n_rows * length
    mask_mib = 0.0 if mask is None else mask.numel() * mask.element_size() / MIB
    return figures | {"tokens": n_tokens, "mask_mib": mask_mib}


def _timed(
    call: Callable[[], torch.Tensor],
    inputs: list[torch.Tensor],
    gradient: torch.Tensor,
    *,
    device: str,
) -> dict[str, Any]:
    """Return the milliseconds of forward and backward, and the MiB at their peak."""
    on_gpu = device == "cuda"
    before = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    marks = []
    for _ in range(2 + N_TIMES):  # two to warm up
        start = _mark(device)
        result = call()
        middle = _mark(device)
        result.backward(gradient)
        marks.append((start, middle, _mark(device)))
        del result
        for tensor in inputs:
            tensor.grad = None
    if on_gpu:
        torch.cuda.synchronize()
    return {
        "forward_ms": [_milliseconds(start, middle) for start, middle, _ in marks[2:]],
        "backward_ms": [_milliseconds(middle, end) for _, middle, end in marks[2:]],
        "extra_mib": (torch.cuda.max_memory_allocated() - before) / MIB if on_gpu else None,
    }


def _mark(device: str) -> Any:
    """Return a point in the time of the device: on a card, of its own queue."""
    if device != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _milliseconds(start: Any, end: Any) -> float:
    return 1000 * (end - start) if isinstance(start, float) else start.elapsed_time(end)
