"""Everything that a training step changes in a trainer, put back to the last bit."""

import collections
import contextlib
import random
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

__all__ = ["models_of", "restoring", "restoring_weights", "unique_weights"]

MAX_BUFFER = 1_000_000  # numbers: larger ones hold quantized weights, which no step changes
ROWS = ("train_dataset", "eval_dataset")  # read, and never changed


@contextlib.contextmanager
def restoring(trainer: "Trainer") -> Iterator[None]:
    """Put all of a trainer back at the end of a block, but the numbers in its weights.

    That is: the attributes of the trainer, its callbacks, optimizer, schedule, accelerator and
    modules, what their lists and dictionaries hold, the optimizer's state, buffers, gradients,
    and the generators of Python, NumPy and torch.

    Args:
        trainer: Any.
    """
    containers, tensors = _contents(trainer)
    generators = _generators()
    weights = unique_weights(trainer)
    flags = [(weight, weight.requires_grad, weight.grad) for weight in weights]
    for weight in weights:
        weight.grad = None
    try:
        with restoring_weights(tensors):
            yield
    finally:
        for container, content in containers:
            _refill(container, content)
        for weight, requires_grad, gradient in flags:
            weight.requires_grad_(requires_grad)
            weight.grad = gradient
        _set_generators(generators)


@contextlib.contextmanager
def restoring_weights(tensors: Iterable["torch.Tensor"]) -> Iterator[None]:
    """Put the numbers in tensors back at the end of a block.

    Args:
        tensors: They are copied into the machine's own memory.
    """
    import torch

    kept = [(tensor, tensor.data, tensor.detach().to("cpu", copy=True)) for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, data, copy in kept:
                data.copy_(copy)
                tensor.data = data


def models_of(trainer: "Trainer") -> list[Any]:
    """Return the model that a trainer saves, and the one that it trains if that is another.

    Args:
        trainer: Any.

    Returns:
        One or two models.
    """
    wrapped = getattr(trainer, "model_wrapped", None)
    return [trainer.model, *([wrapped] if wrapped not in (None, trainer.model) else [])]


def unique_weights(trainer: "Trainer") -> list["torch.nn.Parameter"]:
    """Return the weights of a trainer's models and of its optimizer, each once.

    Args:
        trainer: With or without an optimizer.

    Returns:
        Trainable and frozen ones.
    """
    weights = [weight for model in models_of(trainer) for weight in model.parameters()]
    for group in getattr(trainer.optimizer, "param_groups", ()):
        weights += group["params"]
    return list({id(weight): weight for weight in weights}.values())


def _contents(trainer: "Trainer") -> tuple[list[tuple[Any, Any]], list["torch.Tensor"]]:
    """Return lists and dictionaries with copies of them, and the tensors that steps change."""
    import torch

    containers: dict[int, tuple[Any, Any]] = {}
    tensors: dict[int, torch.Tensor] = {}

    def keep(value: Any, *, with_tensors: bool = False) -> None:
        if isinstance(value, torch.Tensor):
            if with_tensors and not isinstance(value, torch.nn.Parameter):
                tensors[id(value)] = value
        elif isinstance(value, dict | list | set | collections.deque) and id(value) not in seen:
            seen.add(id(value))
            items = list(value.items() if isinstance(value, dict) else value)
            containers[id(value)] = (value, items)
            for item in value.values() if isinstance(value, dict) else value:
                keep(item, with_tensors=with_tensors)

    seen = {id(getattr(trainer, name, None)) for name in ROWS}
    for part in _parts(trainer):
        keep(part.__dict__)
    for part in (trainer.optimizer, trainer.lr_scheduler):
        if part is not None:
            keep(part.__dict__, with_tensors=True)
    for model in models_of(trainer):
        for buffer in model.buffers():
            if buffer.numel() <= MAX_BUFFER:
                tensors[id(buffer)] = buffer
    return list(containers.values()), list(tensors.values())


def _parts(trainer: "Trainer") -> Iterator[Any]:
    """Yield a trainer and the objects that it consists of, each with attributes of its own."""
    names = ("args", "state", "control", "callback_handler", "accelerator", "data_collator")
    parts = [trainer, *(getattr(trainer, name, None) for name in names)]
    parts += trainer.callback_handler.callbacks
    for name in ("gradient_state", "state", "scaler"):
        parts.append(getattr(trainer.accelerator, name, None))
    for model in models_of(trainer):
        parts += [getattr(model, name, None) for name in ("config", "generation_config")]
        parts += [*model.modules(), *model.parameters()]
        parts += [m.state for m in model.modules() if hasattr(m, "state")]  # of 8-bit layers
    if "bitsandbytes" in sys.modules:
        parts.append(sys.modules["bitsandbytes"].optim.GlobalOptimManager.get_instance())
    for part in parts:
        if hasattr(part, "__dict__") and isinstance(part.__dict__, dict):
            yield part


def _refill(container: Any, items: list[Any]) -> None:
    if isinstance(container, list):
        container[:] = items
        return
    container.clear()
    if isinstance(container, collections.deque):
        container.extend(items)
    else:
        container.update(items)


def _generators() -> tuple[Any, ...]:
    import numpy as np
    import torch

    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_gpus


def _set_generators(states: tuple[Any, ...]) -> None:
    import numpy as np
    import torch

    python, numpy, cpu, on_gpus = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if on_gpus is not None:
        torch.cuda.set_rng_state_all(on_gpus)
