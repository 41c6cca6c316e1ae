"""Notes every allocation that torch would make on a GPU, while a model runs on `meta` tensors.

Meta tensors have shapes and no data, so a step of a model of any size takes seconds and no memory.
"""

import contextlib
import dataclasses
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Event", "Tracer", "register_bitsandbytes"]

aten = torch.ops.aten


@dataclasses.dataclass(slots=True)
class Event:
    """Something that happened to memory.

    Attributes:
        action: `allocate`, `free`, `phase` or `empty_cache`.
        key: Which storage; unused in the last two.
        n_bytes: Its size, for `allocate`.
        operation: What allocated it, or the phase's name.
        module: The module that was running.
        kind: What it is for: `weights`, `adapters`, `gradients`, `optimizer`, `logits`,
            `activations` or `temporaries`.
    """

    action: str
    key: int = -1
    n_bytes: int = 0
    operation: str = ""
    module: str = ""
    kind: str = ""


class Tracer(TorchDispatchMode):
    """Records an event for each storage on `meta` that comes or goes.

    Args:
        padded: Whether rows differ in length, so that masks are not trivial.

    Attributes:
        events: In order.
        kind: What new storages are for.
        module: The module that is running.
    """

    events: list[Event]
    kind: str
    module: str

    def __init__(self, *, padded: bool = False) -> None:
        super().__init__()
        self.padded = padded
        self.events = []
        self.kind, self.module = "weights", ""
        self._live: dict[int, tuple[Event, weakref.ref]] = {}
        self._n = 0

    def phase(self, name: str, kind: str) -> None:
        """Begin a phase.

        Args:
            name: Of the phase.
            kind: What is allocated in it, unless `rename` says something else later.
        """
        self.events.append(Event("phase", operation=name))
        self.kind = kind

    def empty_cache(self) -> None:
        """Note a call of `torch.cuda.empty_cache`."""
        self.events.append(Event("empty_cache"))

    def rename(self, tensor: torch.Tensor, kind: str) -> None:
        """Say what a tensor is for, now that it is known.

        Args:
            tensor: On `meta`.
            kind: As in `Event`.
        """
        if found := self._live.get(tensor.untyped_storage()._cdata):
            found[0].kind = kind

    def hidden(self, n_bytes: int, operation: str) -> int:
        """Note an allocation that a kernel makes for itself.

        Args:
            n_bytes: Its size.
            operation: What makes it.

        Returns:
            The key to `free` it with.
        """
        return self._allocated(n_bytes, operation, "temporaries").key

    def free(self, key: int) -> None:
        """Note that a hidden allocation is freed.

        Args:
            key: As `hidden` returned it.
        """
        self.events.append(Event("free", key))

    def release(self, tensor: torch.Tensor) -> None:
        """Note that a tensor's memory is freed, though the tensor lives on.

        Args:
            tensor: On `meta`.
        """
        self.free(self._event(tensor).key)

    def restore(self, tensor: torch.Tensor, n_bytes: int, operation: str) -> None:
        """Note that a tensor whose memory was freed has some again.

        Args:
            tensor: On `meta`.
            n_bytes: Its size.
            operation: What allocates it.
        """
        event = self._event(tensor)
        place = operation, self.module, event.kind
        self.events.append(Event("allocate", event.key, n_bytes, *place))

    def kind_of(self, tensor: torch.Tensor) -> str:
        """Return what a tensor is for.

        Args:
            tensor: On `meta`.

        Returns:
            As in `Event`.
        """
        return self._event(tensor).kind

    def _event(self, tensor: torch.Tensor) -> Event:
        return self._live[tensor.untyped_storage()._cdata][0]

    def _allocated(self, n_bytes: int, operation: str, kind: str) -> Event:
        event = Event("allocate", self._n, n_bytes, operation, self.module, kind)
        self._n += 1
        self.events.append(event)
        return event

    def track(self, output: Any, operation: str) -> None:
        """Note the storages of an operation's outputs that are new.

        Args:
            output: A tensor, or a list of what may be tensors.
            operation: Its name.
        """
        if isinstance(output, torch.Tensor):
            if output.device.type == "meta":
                self._track(output, operation)
        elif isinstance(output, list | tuple):
            for item in output:
                self.track(item, operation)

    def _track(self, tensor: torch.Tensor, operation: str) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._live:
            return
        event = self._allocated(storage.nbytes(), operation, self.kind)

        def gone(_: Any, key: int = event.key) -> None:
            self.events.append(Event("free", key))
            self._live.pop(address, None)

        self._live[address] = event, weakref.ref(storage, gone)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        handler = HANDLERS.get(func)
        if handler is None:
            output = func(*args, **(kwargs or {}))
        else:
            output = handler(self, func, args, kwargs or {})
        self.track(output, func.__name__)
        return output

    @contextlib.contextmanager
    def naming_modules(self, model: torch.nn.Module) -> Iterator[None]:
        """Keep `module` up to date while a model runs forward.

        Args:
            model: Its modules get the names that it has for them.

        Yields:
            Nothing.
        """
        names = {module: name for name, module in model.named_modules()}

        def enter(module: torch.nn.Module, _: Any) -> None:
            self.module = names.get(module, self.module)

        handle = torch.nn.modules.module.register_module_forward_pre_hook(enter)
        try:
            yield
        finally:
            handle.remove()


# Where `meta` differs from CUDA -----------------------------------------------------------------


def _is_mask_trivial(tracer: Tracer, func: Any, args: tuple, kwargs: dict) -> Any:
    """Answer what transformers asks of data: are all masks trivial? Unless rows are padded."""
    dtype = args[0].dtype
    if dtype is torch.bool:
        return not tracer.padded
    if dtype.is_floating_point:
        return 1.0
    return 1


def _softmax_backward(tracer: Tracer, func: Any, args: tuple, kwargs: dict) -> torch.Tensor:
    """The kernel for CUDA multiplies gradient and output first, into a tensor of its own."""
    gradient, result = args[0], args[1]
    output = func(*args, **kwargs)
    tracer.track(output, func.__name__)
    item = max(gradient.element_size(), result.element_size())
    tracer.free(tracer.hidden(gradient.numel() * item, "softmax_backward (hidden)"))
    return output


def _accumulate(tracer: Tracer, func: Any, args: tuple, kwargs: dict) -> torch.Tensor:
    """Autograd adds gradients in place; under a dispatch mode it makes a new tensor. Undo that."""
    into, other = args[0], args[1]
    in_place = (
        not torch.is_grad_enabled()
        and isinstance(other, torch.Tensor)
        and into.shape == other.shape
        and into.dtype == other.dtype
        and into.is_contiguous()
        and torch._C._current_autograd_node() is not None
    )
    return into if in_place else func(*args, **kwargs)


def _gemm_4bit(tracer: Tracer, func: Any, args: tuple, kwargs: dict) -> torch.Tensor:
    """Training dequantizes the weight into a tensor of its own, and frees it after the product."""
    a, _, (n_out, n_in) = args[:3]
    n_blocks = kwargs["absmax_8bit"].numel() if kwargs.get("absmax_8bit") is not None else 0
    hidden = []
    if n_blocks:  # double quantization: the scales are dequantized, and then shifted
        first = tracer.hidden(4 * n_blocks, "absmax (hidden)")
        hidden.append(tracer.hidden(4 * n_blocks, "absmax (hidden)"))
        tracer.free(first)
    n_bytes = n_out * n_in * a.element_size()
    hidden.append(tracer.hidden(n_bytes, "dequantized weight (hidden)"))
    output = torch.empty((*a.shape[:-1], n_out), dtype=a.dtype, device=a.device)
    tracer.track(output, func.__name__)
    for key in hidden:
        tracer.free(key)
    return output


def _grouped_mm(tracer: Tracer, func: Any, args: tuple, kwargs: dict) -> torch.Tensor:
    """The one for `meta` takes bfloat16 alone; on other types a loop of products makes as much."""
    a, b = args[:2]
    if a.ndim == 3:
        shape = (a.shape[1], b.shape[-1])
    else:
        shape = (a.shape[0], b.shape[-1])
        if b.ndim == 2:  # the gradient of weights, one for each group
            offsets = args[2] if len(args) > 2 else kwargs["offs"]
            shape = (len(offsets), *shape)
    return a.new_empty(shape)


HANDLERS = {
    aten._grouped_mm.default: _grouped_mm,
    aten._local_scalar_dense.default: _is_mask_trivial,
    aten._softmax_backward_data.default: _softmax_backward,
    aten.add.Tensor: _accumulate,
}


def register_bitsandbytes() -> None:
    """Handle the operators of bitsandbytes, which exist once it is imported."""
    import bitsandbytes  # noqa: F401

    HANDLERS[torch.ops.bitsandbytes.gemm_4bit.default] = _gemm_4bit
