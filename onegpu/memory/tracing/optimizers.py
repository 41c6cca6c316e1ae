"""What optimizers keep and make, on `meta` tensors, by the names that transformers gives them."""

from typing import Any

import torch

from onegpu.memory.tracing.tracer import Tracer

__all__ = ["build_optimizer"]

BLOCK = 256  # parameters that share a scale in an 8-bit state
SMALLEST_IN_8_BITS = 4096  # parameters; smaller tensors keep states in float32
SMALLEST_PAGED = 100_000  # parameters; smaller tensors keep their states on the card


class _StatesOnly:
    """An optimizer whose kernel works in place: it keeps states and makes nothing else.

    Args:
        model: What is trained.
        tracer: The active one.
        bits: Of a state.
        paged: Whether states lie in memory that moves between the card and the computer.
    """

    def __init__(self, model: torch.nn.Module, tracer: Tracer, *, bits: int, paged: bool) -> None:
        self.tracer, self.bits, self.paged = tracer, bits, paged
        embeddings = {
            id(parameter)
            for module in model.modules()
            if isinstance(module, torch.nn.Embedding)
            for parameter in module.parameters()
        }  # transformers keeps their states in float32
        self.trainable = [
            (p, 32 if id(p) in embeddings or p.numel() < SMALLEST_IN_8_BITS else bits)
            for p in model.parameters()
            if p.requires_grad
        ]
        self.states: list[torch.Tensor] = []

    def step(self) -> None:
        if self.states:
            return
        before, self.tracer.kind = self.tracer.kind, "optimizer"
        if self.bits == 8:
            self.states += [torch.empty(256), torch.empty(256)]  # the code books, one of a kind
        for parameter, bits in self.trainable:
            n = parameter.numel()
            if not (self.paged and n >= SMALLEST_PAGED):
                dtype = torch.uint8 if bits == 8 else parameter.dtype
                if self.bits == 8 and bits == 32:
                    dtype = torch.float32
                self.states += [torch.empty(n, dtype=dtype), torch.empty(n, dtype=dtype)]
            if bits == 8:
                self.states += [torch.empty(-(-n // BLOCK)), torch.empty(-(-n // BLOCK))]
            elif self.bits == 32:
                self.states.append(torch.empty(()))  # the number of steps
        self.tracer.kind = before

    def zero_grad(self) -> None:
        for parameter, _ in self.trainable:
            parameter.grad = None


class _AdamW(torch.optim.AdamW):
    """AdamW of torch, one operation for all tensors at once; it makes temporaries."""

    def __init__(self, model: torch.nn.Module, tracer: Tracer) -> None:
        trainable = [p for p in model.parameters() if p.requires_grad]
        super().__init__(trainable, lr=1e-4, foreach=True)
        self.tracer = tracer

    def step(self, closure: Any = None) -> None:
        super().step(closure)
        for state in self.state.values():
            for value in state.values():
                self.tracer.rename(value, "optimizer")


def build_optimizer(name: str, model: torch.nn.Module, *, tracer: Tracer) -> Any:
    """Return an optimizer with `step` and `zero_grad`, whose states the tracer sees.

    Args:
        name: Of `training_step.CHOICES`, as in `TrainingArguments(optim=...)`.
        model: Its trainable parameters are those that require a gradient.
        tracer: The active one.

    Returns:
        The optimizer.
    """
    if name == "adamw_torch":
        return _AdamW(model, tracer)
    bits = 8 if name.endswith("8bit") else 32
    return _StatesOnly(model, tracer, bits=bits, paged=name.startswith("paged"))
