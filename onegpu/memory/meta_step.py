"""A training step on `meta`: what is allocated and freed, in which phase, for what, and where."""

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import torch

from onegpu.machine import MIB
from onegpu.memory.building import build
from onegpu.memory.cards import Card
from onegpu.memory.kernels import kernels_of_cuda
from onegpu.memory.optimizers import build_optimizer
from onegpu.memory.tracer import Event, Tracer, register_bitsandbytes
from onegpu.memory.training_step import TrainingStep

__all__ = ["trace"]

N_STEPS = 2  # the optimizer's states are made in the first step, so the second is the rule
WORKSPACE_LT = MIB  # cublasLt's, which it takes for layers with a bias


def trace(config: Any, step: TrainingStep, *, card: Card) -> list[Event]:
    """Return every allocation of loading a model and training it for two steps.

    Args:
        config: A configuration of transformers.
        step: What one step is, its precision chosen.
        card: What it would run on.

    Returns:
        The events, with the phases `load`, `forward`, `backward` and `optimizer`, twice the last
        three.
    """
    if step.quantization:
        register_bitsandbytes()
    tracer = Tracer()
    kernel = card.sdpa_kernel if step.attention == "sdpa" else "eager"
    with _without_garbage_collection(), tracer, kernels_of_cuda(kernel), torch.device("meta"):
        tracer.phase("load", "weights")
        model = build(config, step, tracer=tracer)
        with tracer.naming_modules(model):
            _steps(model, step, card=card, tracer=tracer)
        events = list(tracer.events)  # before the model goes
    return events


def _steps(model: Any, step: TrainingStep, *, card: Card, tracer: Tracer) -> None:
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = build_optimizer(step.optimizer, model, tracer=tracer)
    workspaces = [card.workspace_bytes]
    if any(isinstance(m, torch.nn.Linear) and m.bias is not None for m in model.modules()):
        workspaces.append(WORKSPACE_LT)
    tokens = torch.empty((step.batch, step.seq), dtype=torch.long)
    for size in workspaces:
        tracer.hidden(size, "cuBLAS workspace")
    for n in range(N_STEPS):
        optimizer.zero_grad()
        tracer.phase("forward", "activations")
        output = model(input_ids=tokens, labels=tokens)
        tracer.rename(output.logits, "logits")
        tracer.phase("backward", "temporaries")
        if n == 0:  # the backward pass has a thread, and workspaces, of its own
            for size in workspaces:
                tracer.hidden(size, "cuBLAS workspace, backward")
        output.loss.backward()
        for parameter in trainable:
            tracer.rename(parameter.grad, "gradients")
        tracer.phase("optimizer", "temporaries")
        optimizer.step()
        if n < N_STEPS - 1:
            del output


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Let tensors go when their last reference does, as in a step that is no trace."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
