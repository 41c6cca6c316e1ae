"""The kernels that a GPU would choose, for a model that runs on `meta` tensors."""

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["kernels_of_cuda"]


@contextlib.contextmanager
def kernels_of_cuda(attention: str, *, dtype: Any = None) -> Iterator[None]:
    """Send attention and softmax to the kernels that a GPU would choose.

    - SDPA on `meta` would be composed of small operations; on a GPU one kernel does it.
    - Softmax of float16 to float32 is one kernel on CUDA; on `meta` it would make a copy first.
    - Dropout is one kernel on CUDA, whose mask takes a byte a number; on `meta` as much as they do.

    Args:
        attention: `eager`, which is left as it is, `efficient` for the memory-efficient kernel
            of SDPA (a T4), or `flash` for its FlashAttention (capability 8.0 and up), which has
            neither float32 nor masks and leaves these to the other one.
        dtype: Of 16 bits, to which autocast casts queries, keys and values; None without it.

    Yields:
        Nothing.
    """
    import torch

    functional, aten = torch.nn.functional, torch.ops.aten
    names = ("scaled_dot_product_attention", "softmax", "log_softmax", "dropout")
    before = {name: getattr(functional, name) for name in names}

    def efficient(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        groups = q.size(-3) // k.size(-3)
        if groups > 1:
            k, v = (x.repeat_interleave(groups, dim=-3) for x in (k, v))
        if attn_mask is not None and attn_mask.dtype is torch.bool:
            attn_mask = torch.empty_like(attn_mask, dtype=q.dtype)
        needed = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
        kernel = aten._scaled_dot_product_efficient_attention
        return kernel(q, k, v, attn_mask, needed, dropout_p, is_causal, scale=scale)[0]

    def flash(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        if q.dtype is torch.float32 or attn_mask is not None:
            return efficient(q, k, v, attn_mask, dropout_p, is_causal, scale)
        kernel = aten._scaled_dot_product_flash_attention
        return kernel(q, k, v, dropout_p, is_causal, False, scale=scale)[0]

    def autocast(kernel: Any) -> Any:
        def attend(q, k, v, *args, **kwargs):
            if dtype is not None and torch.is_autocast_enabled():
                q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
            return kernel(q, k, v, *args, **kwargs)

        return attend

    def fused(kernel: Any, original: Any) -> Any:
        def softmax(input, dim=None, _stacklevel=3, dtype=None):
            if dtype is torch.float32 and input.dtype is torch.float16:
                return kernel(input, dim, True)
            return original(input, dim=dim, _stacklevel=_stacklevel, dtype=dtype)

        return softmax

    def dropout(input, p=0.5, training=True, inplace=False):
        if not training or p == 0:
            return input
        return aten.native_dropout(input, p, True)[0]

    sdpa = before["scaled_dot_product_attention"]
    attend = {"efficient": autocast(efficient), "flash": autocast(flash), "eager": sdpa}
    functional.scaled_dot_product_attention = attend[attention]
    functional.softmax = fused(aten._softmax, before["softmax"])
    functional.log_softmax = fused(aten._log_softmax, before["log_softmax"])
    functional.dropout = dropout
    try:
        yield
    finally:
        for name, original in before.items():
            setattr(functional, name, original)
