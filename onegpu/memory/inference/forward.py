"""A forward pass on `meta`: what transformers allocates for answering a batch of prompts."""

from typing import Any

import torch

from onegpu.memory.cards import Card
from onegpu.memory.tracing.kernels import kernels_of_cuda
from onegpu.memory.tracing.tracer import Event, Tracer

__all__ = ["trace_forward"]


def trace_forward(
    model: torch.nn.Module, config: Any, *, card: Card, context: int, requests: int
) -> list[Event]:
    """Return every allocation of reading prompts and generating the last token of each answer.

    Args:
        model: On `meta`, in 16 bits.
        config: Its configuration.
        card: What it would run on.
        context: Tokens of a request.
        requests: Rows of the batch.

    Returns:
        The events, with the phases `load`, `prefill` and `decode`.
    """
    from transformers import DynamicCache

    cache = DynamicCache(config=config)
    tracer = Tracer()
    kernels = kernels_of_cuda(card.sdpa_kernel)
    with tracer, kernels, torch.device("meta"), torch.no_grad():
        tracer.phase("load", "weights")
        tracer.track([*model.parameters(), *model.buffers()], "load")
        for phase, n_new in (("prefill", max(1, context - 1)), ("decode", 1)):
            tracer.phase(phase, "activations")
            tokens = torch.empty((requests, n_new), dtype=torch.long)
            model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return list(tracer.events)  # before the cache goes
