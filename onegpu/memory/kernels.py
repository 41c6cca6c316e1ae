"""The kernels that a GPU would choose, for a model that runs on `meta` tensors."""

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["kernels_of_cuda"]


@contextlib.contextmanager
def kernels_of_cuda(attention: str) -> Iterator[None]:
    """Send attention and softmax to the kernels that a GPU would choose.

    - SDPA on `meta` would be composed of small operations; on a GPU one kernel does it.
    - Softmax of float16 to float32 is one kernel on CUDA; on `meta` it would make a copy first.

    Args:
        attention: `eager`, which is left as it is, `efficient` for the memory-efficient kernel
            of SDPA (a T4), or `flash` for its FlashAttention (capability 8.0 and up), which has no
            float32 and leaves that to the other one.

    Yields:
        Nothing.
    """
    import torch

    functional, aten = torch.nn.functional, torch.ops.aten
    before = functional.scaled_dot_product_attention, functional.softmax, functional.log_softmax

    def efficient(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        groups = q.size(-3) // k.size(-3)
        if groups > 1:
            k, v = (x.repeat_interleave(groups, dim=-3) for x in (k, v))
        needed = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
        kernel = aten._scaled_dot_product_efficient_attention
        return kernel(q, k, v, attn_mask, needed, dropout_p, is_causal, scale=scale)[0]

    def flash(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        if q.dtype is torch.float32:
            return efficient(q, k, v, attn_mask, dropout_p, is_causal, scale)
        kernel = aten._scaled_dot_product_flash_attention
        return kernel(q, k, v, dropout_p, is_causal, False, scale=scale)[0]

    def fused(kernel: Any, original: Any) -> Any:
        def softmax(input, dim=None, _stacklevel=3, dtype=None):
            if dtype is torch.float32 and input.dtype is torch.float16:
                return kernel(input, dim, True)
            return original(input, dim=dim, _stacklevel=_stacklevel, dtype=dtype)

        return softmax

    chosen = {"efficient": efficient, "flash": flash, "eager": before[0]}
    functional.scaled_dot_product_attention = chosen[attention]
    functional.softmax = fused(aten._softmax, before[1])
    functional.log_softmax = fused(aten._log_softmax, before[2])
    try:
        yield
    finally:
        functional.scaled_dot_product_attention, functional.softmax, functional.log_softmax = before
