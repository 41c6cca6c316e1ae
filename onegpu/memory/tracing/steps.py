"""A training step on `meta`: what is allocated and freed, in which phase, for what, and where."""

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch

from onegpu.machine import MIB
from onegpu.memory.cards import Card
from onegpu.memory.tracing.autocast import Autocast, regions
from onegpu.memory.tracing.building import build, load
from onegpu.memory.tracing.kernels import kernels_of_cuda
from onegpu.memory.tracing.losses import ChunkedLoss, LigerLoss
from onegpu.memory.tracing.optimizers import build_optimizer
from onegpu.memory.tracing.tracer import Event, Tracer, register_bitsandbytes
from onegpu.memory.training_step import TrainingStep

__all__ = ["trace"]

N_STEPS = 2  # the optimizer's states are made in the first step, so the second is the rule
WORKSPACE_LT = MIB  # cublasLt's, which it takes for layers with a bias


def trace(
    config: Any, step: TrainingStep, *, card: Card, divide: Callable[..., Any] | None = None
) -> list[Event]:
    """Return every allocation of loading a model and training it for two steps.

    Args:
        config: A configuration of transformers.
        step: What one step is, everything chosen.
        card: What it would run on.
        divide: Prepares the model, once it is built, for several cards; it is given the tracer. It
            may return what to call when a backward pass begins.

    Returns:
        The events, with the phases `load`, `forward`, `backward` and `optimizer`, twice the last
        three; with `"grpo"` a phase `generate` before each forward pass.
    """
    if step.quantization:
        register_bitsandbytes()
    tracer = Tracer(padded=bool(step.padded))
    kernel = card.sdpa_kernel if step.attention == "sdpa" else "eager"
    dtype = torch.bfloat16 if card.has_bf16 else torch.float16
    computing = _Computing(dtype if step.autocast else None)
    kernels = kernels_of_cuda(kernel, dtype=computing.dtype)
    with _without_garbage_collection(), tracer, kernels, regions(), torch.device("meta"):
        tracer.phase("load", "weights")
        recompute = None if computing.dtype is None else computing.recompute
        model = build(config, step, tracer=tracer, recompute=recompute)
        before_backward = divide(model, tracer=tracer) if divide is not None else None
        batch = _Batch(model, step, computing=computing, tracer=tracer)
        if step.trainer == "dpo" and step.lora is None and not step.precompute_ref:
            batch.reference = load(config, step, tracer=tracer)
        with tracer.naming_modules(model):
            _steps(batch, card=card, before_backward=before_backward)
        events = list(tracer.events)  # before the model goes
    return events


@dataclasses.dataclass
class _Computing:
    """In which type operations compute: autocast's, or that of what they are given if None."""

    dtype: torch.dtype | None

    def __call__(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext() if self.dtype is None else Autocast(self.dtype)

    def recompute(self) -> tuple[contextlib.AbstractContextManager, ...]:
        return contextlib.nullcontext(), self()


def _steps(batch: "_Batch", *, card: Card, before_backward: Callable[[], None] | None) -> None:
    model, step, tracer = batch.model, batch.step, batch.tracer
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = build_optimizer(step.optimizer, model, tracer=tracer)
    workspaces = [card.workspace_bytes]
    if any(isinstance(m, torch.nn.Linear) and m.bias is not None for m in model.modules()):
        workspaces.append(WORKSPACE_LT)
    for size in workspaces:
        tracer.hidden(size, "cuBLAS workspace")
    for n in range(N_STEPS):
        optimizer.zero_grad()
        if step.trainer == "grpo":
            tracer.phase("generate", "activations")
            batch.generate()
        tracer.phase("forward", "activations")
        loss, kept = batch.forward()
        tracer.phase("backward", "temporaries")
        if before_backward is not None:
            before_backward()
        if n == 0:  # the backward pass has a thread, and workspaces, of its own
            for size in workspaces:
                tracer.hidden(size, "cuBLAS workspace, backward")
        loss.backward()
        for parameter in trainable:
            tracer.rename(parameter.grad, "gradients")
        tracer.phase("optimizer", "temporaries")
        optimizer.step()
        if n < N_STEPS - 1:
            del loss, kept


class _Batch:
    """The rows of a step, and what each trainer does with them.

    Args:
        model: Ready to be trained.
        step: Everything chosen.
        computing: In which type.
        tracer: The active one.

    Attributes:
        reference: A second model, of DPO with all weights trained.
    """

    reference: Any = None

    def __init__(
        self, model: Any, step: TrainingStep, *, computing: _Computing, tracer: Tracer
    ) -> None:
        self.model, self.step, self.computing, self.tracer = model, step, computing, tracer
        n_rows = step.batch * (2 if step.trainer in ("dpo", "reward") else 1)
        tokens = torch.empty((n_rows, step.seq), dtype=torch.long)
        self.inputs = {"input_ids": tokens}
        if step.padded:
            self.inputs["attention_mask"] = torch.empty_like(tokens)
        self.base = model if step.lora is None else model.get_base_model()

    def forward(self) -> tuple[torch.Tensor, Any]:
        """Return the loss, and what lives on through the backward pass."""
        if self.step.trainer == "reward":
            rewards = self._run(lambda: self.model(**self.inputs).logits)
            chosen, rejected = rewards.float().chunk(2)
            return -torch.nn.functional.logsigmoid(chosen - rejected).mean(), None
        if self.step.loss == "plain":
            return self._plain()
        if self.step.loss == "liger":
            return self._run(lambda: self._fused(LigerLoss, self._states().flatten(0, 1))), None
        log_probs = self._log_probs()
        if self.step.trainer == "dpo" and not self.step.precompute_ref:
            with torch.no_grad():
                if self.reference is not None:
                    self._log_probs(self.reference)
                else:
                    with self.model.disable_adapter():
                        self._log_probs()
        return -log_probs.sum(), None

    def _plain(self) -> tuple[torch.Tensor, Any]:
        labels = self.inputs["input_ids"]
        output = self._run(lambda: self.model(**self.inputs, labels=labels))
        self.tracer.rename(output.logits, "logits")
        if self.step.trainer == "loop":
            return output.loss, output
        if self.computing.dtype is not None:  # accelerate returns what it returns in float32
            output.logits = output.logits.float()
        return output.loss, None

    def generate(self) -> None:
        """Fill the cache of as many rows as are generated at once."""
        n_rows = self.step.generation_batch or self.step.batch
        tokens = torch.empty((n_rows, self.step.seq), dtype=torch.long)
        with torch.no_grad():
            self.model.eval()
            self._run(lambda: self.model(input_ids=tokens, use_cache=True, logits_to_keep=1))
            self.model.train()

    def _run(self, forward: Any) -> Any:
        with self.computing():
            return forward()

    def _states(self, base: Any = None) -> torch.Tensor:
        base = base or self.base
        backbone = getattr(base, base.base_model_prefix)
        return backbone(**self.inputs, use_cache=False).last_hidden_state

    def _log_probs(self, base: Any = None) -> torch.Tensor:
        return self._run(lambda: self._fused(ChunkedLoss, self._states(base), base))

    def _fused(self, loss: Any, states: torch.Tensor, base: Any = None) -> torch.Tensor:
        head = (base or self.base).get_output_embeddings().weight
        return loss.apply(states, head, self.computing.dtype or states.dtype)


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
