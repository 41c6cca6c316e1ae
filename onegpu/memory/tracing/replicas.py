"""DDP on `meta`: a copy of the model on each card, and buckets for the gradients.

Source: `torch.nn.parallel.DistributedDataParallel` of torch 2.13; its `Reducer` and
`broadcast_coalesced`,
https://github.com/pytorch/pytorch/tree/v2.13.0/torch/csrc/distributed/c10d
"""

from collections.abc import Iterable

import torch
from torch import nn

from onegpu.machine import MIB
from onegpu.memory.tracing.tracer import Tracer

__all__ = ["replicate"]

FIRST_BUCKET, BUCKET = MIB, 25 * MIB  # of gradients
BROADCAST, IN_FLIGHT = 250 * MIB, 2  # of the first card's weights, to all others


def replicate(model: nn.Module, *, tracer: Tracer) -> None:
    """Broadcast a model's weights, and keep buckets that are as large as its gradients.

    Args:
        model: Ready to be trained. It keeps the buckets.
        tracer: The active one.
    """
    sent: list[int] = []
    for bucket in _buckets([*model.parameters(), *model.buffers()], (BROADCAST,)):
        if len(sent) == IN_FLIGHT:
            tracer.free(sent.pop(0))
        is_view = len(bucket) == 1  # of a single tensor there is no copy
        n_bytes = 0 if is_view else sum(tensor.nbytes for tensor in bucket)
        sent.append(tracer.hidden(n_bytes, "broadcast of the weights"))
    for key in sent:
        tracer.free(key)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before, tracer.kind = tracer.kind, "gradients"
    model.buckets = [
        torch.empty(sum(tensor.numel() for tensor in bucket), dtype=bucket[0].dtype)
        for bucket in _buckets(trained, (FIRST_BUCKET, BUCKET))
    ]
    tracer.kind = before


def _buckets(tensors: Iterable[torch.Tensor], limits: tuple[int, ...]) -> list[list[torch.Tensor]]:
    """Put tensors of one type together until they reach a limit; the last one holds for the rest.

    Source: `compute_bucket_assignment_by_size` of torch
    """
    full: list[list[torch.Tensor]] = []
    open_ones: dict[torch.dtype, list[torch.Tensor]] = {}
    n_full: dict[torch.dtype, int] = {}
    for tensor in tensors:
        bucket = open_ones.setdefault(tensor.dtype, [])
        bucket.append(tensor)
        place = min(n_full.get(tensor.dtype, 0), len(limits) - 1)
        if sum(member.nbytes for member in bucket) >= limits[place]:
            full.append(open_ones.pop(tensor.dtype))
            n_full[tensor.dtype] = n_full.get(tensor.dtype, 0) + 1
    return full + list(open_ones.values())
