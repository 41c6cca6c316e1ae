"""What PEFT would adapt, asked of PEFT itself, before it does.

Taught in: notebooks/03_lora.ipynb
"""

import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onegpu.lora.layers import (
    adapter_parameters,
    adapters,
    linear_layers,
    warn_of_the_rest,
    without_adapter,
)

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig

__all__ = ["matching_layers", "n_parameters", "planned"]


def matching_layers(model: "torch.nn.Module", targets: str | Sequence[str]) -> list[str]:
    """Return the layers that PEFT would adapt for a `target_modules`, before it does.

    Warns of the linear layers and experts that PEFT's `all-linear` does not reach.

    Args:
        model: Without an adapter.
        targets: As PEFT takes them: `all-linear` (all but the output layer, and in some
            architectures the experts), a regular expression that matches whole paths, or a list of
            names, each the end of a path.

    Returns:
        Paths of layers, and of parameters that hold experts, in the model's order.

    Raises:
        ValueError: Nothing matches. The message names the linear layers that there are.

    Example:
        >>> import torch
        >>> matching_layers(torch.nn.Sequential(torch.nn.Linear(4, 6)), ["0"])
        ['0']

    Taught in: notebooks/03_lora.ipynb
    """
    return [name for name, _, _ in adapters(_planned_for(model, targets, rank=1))]


def n_parameters(model: "torch.nn.Module", *, rank: int, targets: str | Sequence[str]) -> int:
    """Return how many numbers a LoRA adapter would have, before it is made.

    Args:
        model: Without an adapter.
        rank: The width of A and B, at most the smaller side of the largest layer.
        targets: See `matching_layers`.

    Returns:
        The sum of rank × (in + out) over the layers, and over the experts of each.

    Raises:
        ValueError: Nothing matches, or the rank is below 1 or above the smaller side of every
            layer.

    Example:
        >>> import torch
        >>> n_parameters(torch.nn.Sequential(torch.nn.Linear(4, 6)), rank=2, targets=["0"])
        20

    Taught in: notebooks/03_lora.ipynb
    Source: Hu et al. 2021, LoRA, section 4, https://arxiv.org/abs/2106.09685
    """
    plan = list(adapters(_planned_for(model, targets, rank=max(rank, 1))))
    sides = {name: min(module.in_features, module.out_features) for name, _, module in plan}
    largest = max(sides, key=lambda name: sides[name])
    if not 1 <= rank <= sides[largest]:
        raise ValueError(
            f"rank is {rank}: it must be from 1 to {sides[largest]}, the smaller side of "
            f"{largest}; beyond that the product gains nothing in any layer"
        )
    return sum(
        parameter.numel()
        for _, adapter, module in plan
        for parameter in adapter_parameters(module, adapter).values()
    )


def planned(model: "torch.nn.Module", settings: "LoraConfig") -> "torch.nn.Module":
    """Return a model's modules, without its weights, with an adapter put on them by PEFT.

    Args:
        model: Without an adapter. It stays as it is.
        settings: Of the adapter. PEFT fills it in.

    Returns:
        A copy with its parameters on the meta device. Those of a quantized layer are shared.
    """
    import torch
    from peft import inject_adapter_in_model

    kept = {  # configurations, states of quantized layers: nothing that PEFT changes
        id(value): value
        for module in model.modules()
        for value in vars(module).values()
        if not isinstance(value, dict)
    }
    for tensor in (*model.parameters(), *model.buffers()):
        kept[id(tensor)] = tensor
        if type(tensor) is torch.nn.Parameter:
            meta = tensor.detach().to("meta")
            kept[id(tensor)] = torch.nn.Parameter(meta, requires_grad=tensor.requires_grad)
    outline = copy.deepcopy(model, kept)
    with warnings.catch_warnings():  # PEFT gives them when the adapter is made
        warnings.simplefilter("ignore")
        return inject_adapter_in_model(settings, outline, low_cpu_mem_usage=True)


def _planned_for(
    model: "torch.nn.Module", targets: str | Sequence[str], *, rank: int
) -> "torch.nn.Module":
    from peft import LoraConfig, NoMatchingPeftModuleError

    wanted = targets if isinstance(targets, str) else list(targets)
    try:
        plan = planned(model, LoraConfig(r=rank, target_modules=wanted))
    except NoMatchingPeftModuleError:
        kinds = dict.fromkeys(name.rsplit(".", 1)[-1] for name in linear_layers(model))
        raise ValueError(
            f"target_modules {targets!r} match no layer. The linear layers of "
            f"{type(model).__name__} end in: {', '.join(kinds)}"
        ) from None
    if targets == "all-linear":
        warn_of_the_rest(plan, without_adapter(plan))
    return plan
