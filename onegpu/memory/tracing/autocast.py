"""What `torch.autocast` does on a GPU, for a model that runs on `meta` tensors.

torch's own skips tensors that are not on the device it is for.

Source: https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Autocast", "regions"]

# Operations that compute in 16 bits, in float32, and in 16 bits with a result in float32.
NAMES = {
    "lower": """
        linear matmul __matmul__ __rmatmul__ mm bmm mv addmm baddbmm addbmm einsum conv1d conv2d
        conv3d prelu linalg_vecdot
    """,
    "float32": """
        acos asin cosh exp expm1 log log2 log10 log1p reciprocal rsqrt sinh tan pow __pow__ __rpow__
        softplus layer_norm rms_norm group_norm cosine_similarity nll_loss cross_entropy kl_div
        l1_loss smooth_l1_loss mse_loss binary_cross_entropy_with_logits logsumexp dist cdist
    """,
    "float32 result": "softmax log_softmax sum prod cumsum cumprod norm",
}
RULES = {name: rule for rule, names in NAMES.items() for name in names.split()}


class Autocast(TorchFunctionMode):
    """Casts the arguments of operations as autocast does; enter it for each forward pass.

    Args:
        dtype: Of 16 bits.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.enabled = True
        self._casts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # of weights, by their id

    def __enter__(self) -> "Autocast":
        self._is_seen = _seen(self)
        self._is_seen.__enter__()
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._is_seen.__exit__(*raised)
        self._casts.clear()  # torch, too, keeps them until the forward pass ends

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        rule = RULES.get(func.__name__) if self.enabled else None
        if rule == "lower":
            args, kwargs = self._cast(args, self.lower), self._cast(kwargs, self.lower)
        elif rule == "float32":
            args, kwargs = self._cast(args, _raise), self._cast(kwargs, _raise)
        elif rule == "float32 result" and "dtype" not in kwargs and _is_16_bits(args[0]):
            kwargs = {**kwargs, "dtype": torch.float32}
        return func(*args, **kwargs)

    def _cast(self, values: Any, cast: Any) -> Any:
        if isinstance(values, torch.Tensor):
            return cast(values) if values.is_floating_point() else values
        if isinstance(values, tuple | list):
            return type(values)(self._cast(value, cast) for value in values)
        if isinstance(values, dict):
            return {name: self._cast(value, cast) for name, value in values.items()}
        return values

    def lower(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor in 16 bits; a trained weight is cast once a forward pass.

        Args:
            tensor: Of floating point numbers.

        Returns:
            The tensor, or its cast.
        """
        if tensor.dtype == self.dtype:
            return tensor
        if not (tensor.is_leaf and tensor.requires_grad and tensor.dtype is torch.float32):
            return tensor.to(self.dtype)
        if id(tensor) not in self._casts:
            self._casts[id(tensor)] = tensor, tensor.to(self.dtype)
        return self._casts[id(tensor)][1]


def _is_16_bits(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16)


def _raise(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if _is_16_bits(tensor) else tensor


@contextlib.contextmanager
def _seen(autocast: Autocast) -> Iterator[None]:
    """Let libraries that ask torch whether autocast is on hear that it is."""
    with (
        mock.patch.object(torch, "is_autocast_enabled", lambda *_: autocast.enabled),
        mock.patch.object(torch, "get_autocast_dtype", lambda *_: autocast.dtype),
        mock.patch.object(torch, "autocast", functools.partial(_region, autocast)),
    ):
        yield


@contextlib.contextmanager
def _region(autocast: Autocast | None, *_: Any, enabled: bool = True, **__: Any) -> Iterator[None]:
    """Do what models do with `torch.autocast`: switch it off where numbers would suffer."""
    if autocast is None:
        yield
        return
    before, autocast.enabled = autocast.enabled, enabled
    try:
        yield
    finally:
        autocast.enabled = before


def regions() -> Any:
    """Return a context in which models that use `torch.autocast` can run on `meta`.

    Returns:
        The context manager.
    """
    return mock.patch.object(torch, "autocast", functools.partial(_region, None))
