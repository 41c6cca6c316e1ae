"""FSDP2 on `meta`: weights in shards, and whole only while their block computes.

What is gathered, kept and freed, and when, follows `torch.distributed.fsdp.fully_shard`, applied as
accelerate does it: to each block, to the embedding, and to the end of the model, which stays whole
between forward and backward pass.

Source: `torch.distributed.fsdp._fully_shard` of torch 2.13
Source: `accelerate.utils.fsdp_utils.fsdp2_prepare_model` of accelerate 1.15
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from onegpu.memory.tracing.tracer import Tracer
from onegpu.memory.training_step import TrainingStep

__all__ = ["shard"]


def shard(
    model: nn.Module, *, tracer: Tracer, n_gpus: int, step: TrainingStep
) -> Callable[[], None]:
    """Put this card's shards in the place of a model's parameters, and gather them when needed.

    Args:
        model: Ready to be trained, in the number types in which it computes. It is changed.
        tracer: The active one. Its events begin again, with the loading of the shards.
        n_gpus: How many cards share each parameter.
        step: Its number types are those in which the shards are kept.

    Returns:
        What to call when a backward pass begins.
    """
    tracer.events.clear()
    tracer.phase("load", "weights")
    for buffer in model.buffers():
        tracer.restore(buffer, buffer.nbytes, "buffer")
    return _Shards(model, tracer=tracer, n_gpus=n_gpus, step=step).before_backward


class _Weight:
    """A parameter: the shard of it that this card keeps, and the whole.

    Args:
        whole: The parameter, (rows, ...).
        places: The modules that have it, with its name there.
        tracer: The active one.
        n_gpus: How many shards there are.
        dtype: Of the shards.
    """

    def __init__(
        self,
        whole: nn.Parameter,
        places: list[tuple[nn.Module, str]],
        *,
        tracer: Tracer,
        n_gpus: int,
        dtype: torch.dtype,
    ) -> None:
        self.tracer, self.whole, self.places = tracer, whole, places
        rows = -(-whole.shape[0] // n_gpus)
        tracer.kind = tracer.kind_of(whole)
        loaded = tracer.hidden(whole.numel() * dtype.itemsize, "broadcast of a weight")
        self.shard = nn.Parameter(
            torch.empty((rows, *whole.shape[1:]), dtype=dtype), whole.requires_grad
        )
        tracer.free(loaded)
        self.n_bytes = self.shard.numel() * n_gpus * whole.element_size()  # padded
        self._put(self.shard)

    def _put(self, parameter: nn.Parameter) -> None:
        for module, name in self.places:
            module._parameters[name] = parameter

    def unshard(self) -> None:
        self.tracer.restore(self.whole, self.n_bytes, "all_gather_copy_out")
        self._put(self.whole)

    def reshard(self) -> None:
        self.tracer.release(self.whole)
        self._put(self.shard)


class _Shards:
    """All groups of parameters of a model, and what they share.

    Args:
        model: Whose parameters are sharded.
        tracer: The active one.
        n_gpus: How many shards there are.
        step: Its number types are those of the shards.

    Attributes:
        groups: Those with parameters.
        order: Those that have run forward, in that order.
        gathered: Key of an all-gather's output, kept until the next one is copied out.
        reduced: Key of a reduce-scatter's input, kept until the next one.
    """

    groups: "list[_Group]"
    order: "list[_Group]"
    gathered: int | None = None
    reduced: int | None = None

    def __init__(
        self, model: nn.Module, *, tracer: Tracer, n_gpus: int, step: TrainingStep
    ) -> None:
        self.tracer, self.n_gpus = tracer, n_gpus
        self.groups, self.order = [], []
        self._is_final_queued = False
        base = model if step.lora is None else model.get_base_model()
        names = set(base._no_split_modules or ())
        blocks = [module for module in base.modules() if type(module).__name__ in names]
        backbone = getattr(base, base.base_model_prefix)
        norms = [m for m in backbone.children() if "Norm" in type(m).__name__]
        embedding, head = base.get_input_embeddings(), base.get_output_embeddings()
        tail = [*norms[-1:], *([] if head is None else [head])]
        if head is not None and head.weight is embedding.weight:
            tail.insert(0, embedding)
        places: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                places.setdefault(parameter, []).append((module, name))
        taken: set[nn.Parameter] = set()
        dtypes = {True: step.trained_dtype, False: step.dtype}
        for modules, reshards in (
            *(([block], True) for block in reversed(blocks)),  # inner ones first
            *(() if embedding in tail else (([embedding], True),)),
            (tail, False),
            ([backbone], False),
        ):
            inside = modules if modules != [backbone] else [model]
            found = dict.fromkeys(p for m in inside for p in m.parameters() if p not in taken)
            weights = [
                _Weight(p, places[p], tracer=tracer, n_gpus=n_gpus, dtype=dtypes[p.requires_grad])
                for p in found
            ]
            taken.update(weight.shard for weight in weights)
            if weights:
                group = _Group(modules, weights, shards=self, reshards=reshards)
                self.groups.append(group)
                if modules[-1] is not backbone:
                    modules[-1].register_forward_hook(group.after_forward)

    def before_backward(self) -> None:
        """Free what the forward pass gathered last."""
        self.free("gathered")
        if any(group.state == "forward" for group in self.groups):
            self.order[-1].unshard()  # the loss took the output layer's weight, not its output

    def free(self, name: str) -> None:
        """Free what is kept under a name, if there is something."""
        if (key := getattr(self, name)) is not None:
            self.tracer.free(key)
        setattr(self, name, None)

    def prefetch_before(self, group: "_Group") -> None:
        """Gather the group whose backward pass comes next."""
        place = self.order.index(group)
        if place:
            self.order[place - 1].unshard()

    def queue_final(self) -> None:
        """See to it that what has no backward pass of its own is reduced at the end."""
        if not self._is_final_queued:
            torch.autograd.Variable._execution_engine.queue_callback(self._finish)
            self._is_final_queued = True

    def _finish(self) -> None:
        for group in self.groups:
            group.finish()
        self.free("reduced")
        self._is_final_queued = False


class _Group:
    """Parameters that are gathered together.

    Args:
        modules: That use them.
        weights: The parameters.
        shards: What all groups share.
        reshards: Whether they are freed after the forward pass.

    Attributes:
        state: `idle`, `forward`, `before backward` or `after backward`.
    """

    state: str

    def __init__(
        self,
        modules: list[nn.Module],
        weights: list[_Weight],
        *,
        shards: _Shards,
        reshards: bool,
    ) -> None:
        self.weights, self.shards, self.reshards = weights, shards, reshards
        self.state = "idle"
        self._gathered: int | None = None
        self._is_whole = False
        for module in modules:
            module.register_forward_pre_hook(self._before_forward, prepend=True, with_kwargs=True)

    def unshard(self) -> None:
        """Gather the shards of all cards, in the number type that computes."""
        if self._is_whole or self._gathered is not None:
            return
        tracer = self.shards.tracer
        n_bytes = sum(weight.n_bytes for weight in self.weights)
        cast = sum(w.n_bytes for w in self.weights if w.shard.dtype != w.whole.dtype)
        inputs = tracer.hidden(cast // self.shards.n_gpus, "all_gather_copy_in")
        self._gathered = tracer.hidden(n_bytes, "all_gather")
        tracer.free(inputs)

    def _copy_out(self, *, is_forward: bool) -> None:
        if self._gathered is None:
            return
        for weight in self.weights:
            weight.unshard()
        self._is_whole = True
        if is_forward:
            self.shards.free("gathered")  # of the group before: its last reference goes here
            self.shards.gathered = self._gathered
        else:
            self.shards.tracer.free(self._gathered)
        self._gathered = None

    def _before_forward(self, _: nn.Module, args: tuple, kwargs: dict) -> tuple | None:
        if self.state == "before backward":  # a checkpoint computes it again
            return None
        is_first, self.state = self.state != "forward", "forward"
        self.unshard()
        self._copy_out(is_forward=True)
        values = [*args, *kwargs.values()]
        tensors = [v for v in values if isinstance(v, torch.Tensor) and v.requires_grad]
        if not (is_first and tensors and torch.is_grad_enabled()):
            return None
        marked = dict(zip(map(id, tensors), _Backward.apply(self, *tensors), strict=True))
        values = [marked.get(id(value), value) for value in values]
        return tuple(values[: len(args)]), dict(zip(kwargs, values[len(args) :], strict=True))

    def after_forward(self, _: nn.Module, args: tuple, output: Any) -> None:
        """Free the parameters if they are gathered again, and wait for the output's gradient."""
        if self.state == "before backward":
            return
        self.state = "idle"
        if self.reshards:
            self._reshard()
        if self not in self.shards.order:
            self.shards.order.append(self)
        for value in output if isinstance(output, tuple) else (output,):
            if isinstance(value, torch.Tensor) and value.requires_grad:
                value.register_hook(self._before_backward)

    def _reshard(self) -> None:
        if self._is_whole:
            for weight in self.weights:
                weight.reshard()
        self._is_whole = False

    def _before_backward(self, _: torch.Tensor) -> None:
        if self.state == "before backward":
            return
        self.state = "before backward"
        self.shards.queue_final()
        self.unshard()
        self._copy_out(is_forward=False)
        self.shards.prefetch_before(self)

    def after_backward(self) -> None:
        """Free the parameters, and reduce their gradients to this card's shards of them."""
        self.state = "after backward"
        self._reshard()
        self.shards.free("reduced")
        trained = [weight for weight in self.weights if weight.whole.grad is not None]
        if not trained:
            return
        tracer, dtype = self.shards.tracer, trained[0].whole.grad.dtype
        n_bytes = sum(weight.n_bytes for weight in trained)
        self.shards.reduced = tracer.hidden(n_bytes, "reduce_scatter_copy_in")
        for weight in trained:
            tracer.rename(weight.whole.grad, "gradients")
            weight.whole.grad = None
        sizes = [weight.shard.numel() for weight in trained]
        shard = trained[0].shard
        reduced = shard.new_empty(sum(sizes), dtype=dtype).to(shard.dtype)
        for weight, gradient in zip(trained, reduced.split(sizes), strict=True):
            weight.shard.grad = gradient.view(weight.shard.shape)

    def finish(self) -> None:
        """End the backward pass, also of what had none."""
        if self.state != "after backward":
            self.after_backward()
        if self._gathered is not None:  # prefetched in vain
            self.shards.tracer.free(self._gathered)
        self._gathered, self.state = None, "idle"


class _Backward(torch.autograd.Function):
    """Marks the inputs of a group: once their gradients are known, the group is done."""

    @staticmethod
    def forward(ctx: Any, group: _Group, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.group = group
        return inputs

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        ctx.group.after_backward()
        return None, *gradients
