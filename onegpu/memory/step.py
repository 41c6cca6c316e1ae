"""A training step on `meta`: what is allocated and freed, in which phase, for what, and where."""

import contextlib
import gc
from typing import Any

import torch

from onegpu.machine import MIB
from onegpu.memory.building import build
from onegpu.memory.cards import Card
from onegpu.memory.optimizers import build_optimizer
from onegpu.memory.tracer import Event, Tracer, kernels_of_cuda, register_bitsandbytes

__all__ = ["trace"]

N_STEPS = 2  # the optimizer's states are made in the first step, so the second is the rule
WORKSPACE_LT = MIB  # cublasLt's, which it takes for layers with a bias


def trace(
    config: Any,
    card: Card,
    *,
    seq: int,
    batch: int,
    lora: dict[str, Any] | None,
    quantization: str | None,
    checkpointing: bool,
    attention: str,
    dtype: torch.dtype,
    optimizer: str,
) -> list[Event]:
    """Return every allocation of loading a model and training it for two steps.

    Args:
        config: A configuration of transformers.
        card: What it would run on.
        seq: Tokens a row.
        batch: Rows a step.
        lora: Keyword arguments of `peft.LoraConfig`; None for full fine-tuning.
        quantization: None, `nf4` or `nf4-double`.
        checkpointing: Whether activations are computed again in the backward pass.
        attention: `sdpa` or `eager`.
        dtype: Number type of the weights.
        optimizer: A key of `optimizers.OPTIMIZERS`.

    Returns:
        The events, with the phases `load`, `forward`, `backward` and `optimizer`, twice the last
        three.
    """
    if quantization:
        register_bitsandbytes()
    tracer = Tracer()
    kernel = card.sdpa_kernel if attention == "sdpa" else "eager"
    with _without_garbage_collection(), tracer, kernels_of_cuda(kernel), torch.device("meta"):
        tracer.phase("load", "weights")
        model = build(
            config,
            tracer,
            dtype=dtype,
            attention=attention,
            quantization=quantization,
            lora=lora,
            checkpointing=checkpointing,
        )
        with tracer.naming_modules(model):
            _steps(model, tracer, card, optimizer, batch=batch, seq=seq)
        events = list(tracer.events)  # before the model goes
    return events


def _steps(
    model: Any, tracer: Tracer, card: Card, optimizer_name: str, *, batch: int, seq: int
) -> None:
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = build_optimizer(optimizer_name, model, tracer)
    has_bias = any(isinstance(m, torch.nn.Linear) and m.bias is not None for m in model.modules())
    workspaces = [card.workspace_bytes, *([WORKSPACE_LT] if has_bias else [])]
    tokens = torch.empty((batch, seq), dtype=torch.long)
    for size in workspaces:
        tracer.hidden(size, "cuBLAS workspace")
    for step in range(N_STEPS):
        optimizer.zero_grad()
        tracer.phase("forward", "activations")
        output = model(input_ids=tokens, labels=tokens)
        tracer.rename(output.logits, "logits")
        tracer.phase("backward", "temporaries")
        if step == 0:  # the backward pass has a thread, and workspaces, of its own
            for size in workspaces:
                tracer.hidden(size, "cuBLAS workspace, backward")
        output.loss.backward()
        for parameter in trainable:
            tracer.rename(parameter.grad, "gradients")
        tracer.phase("optimizer", "temporaries")
        optimizer.step()
        if step < N_STEPS - 1:
            del output


@contextlib.contextmanager
def _without_garbage_collection() -> Any:
    """Let tensors go when their last reference does, as in a step that is no trace."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
