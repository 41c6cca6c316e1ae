"""What an adapter adds to a model, layer by layer, and how large its update is.

Shapes: `A` is (rank, in), `B` is (out, rank), and the update of a weight is scaling × B A. The
experts of a layer lie in one parameter: `A` is (experts × rank, in), `B` is (out, rank × experts).

Taught in: notebooks/03_lora.ipynb
"""

import dataclasses
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from peft.tuners.lora import LoraLayer

__all__ = [
    "AdaptedLayer",
    "adapter_parameters",
    "adapters",
    "inspect",
    "linear_layers",
    "warn_of_the_rest",
    "without_adapter",
]


@dataclasses.dataclass(frozen=True)
class AdaptedLayer:
    """One layer, or one parameter that holds the experts of a layer, that carries an adapter.

    Attributes:
        name: Its path in the base model.
        adapter: The adapter's name.
        shape: (out, in); of experts (experts, out, in), of a convolution (out, in, kernel).
        rank: Width of A and B, for each expert.
        scaling: What their product is multiplied by: alpha / rank, or alpha / √rank with rsLoRA.
        n_trainable: How many of the adapter's numbers are trained now; 0 if it is frozen.
        dtype: The number type of A and B.
        update_norm: Frobenius norm of scaling × B A; 0 before training.
    """

    name: str
    adapter: str
    shape: tuple[int, ...]
    rank: int
    scaling: float
    n_trainable: int
    dtype: str
    update_norm: float


def inspect(model: "torch.nn.Module") -> list[AdaptedLayer]:
    """List the layers of a PEFT model that carry a LoRA adapter.

    Warns of experts that carry none where every linear layer does.

    Args:
        model: What `get_peft_model` or `PeftModel.from_pretrained` returned.

    Returns:
        A row for each layer and adapter, in the model's order; `pandas.DataFrame(rows)` makes a
        table of them. What `modules_to_save`, `trainable_token_indices` or `bias` train besides
        is no part of it.

    Raises:
        ValueError: The model has no LoRA layer.

    Example:
        >>> import torch
        >>> from peft import LoraConfig, get_peft_model
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 6))
        >>> settings = LoraConfig(r=2, lora_alpha=4, target_modules=["0"])
        >>> [row] = inspect(get_peft_model(net, settings))
        >>> row.name, row.shape, row.rank, row.scaling, row.n_trainable, row.update_norm
        ('0', (6, 4), 2, 2.0, 20, 0.0)

    Taught in: notebooks/03_lora.ipynb
    """
    rows = [_row(*found) for found in adapters(model)]
    if not rows:
        raise ValueError(
            f"{type(model).__name__} has no LoRA layer: pass what get_peft_model or "
            "PeftModel.from_pretrained returned, not the base model"
        )
    rest = without_adapter(model)
    if all(len(parameter.shape) > 2 for parameter in rest.values()):
        warn_of_the_rest(model, rest)
    return rows


def linear_layers(model: "torch.nn.Module") -> dict[str, tuple[int, int]]:
    """Return the shape (out, in) of every linear layer of a model, by its path.

    Args:
        model: Without an adapter; quantized or not.

    Returns:
        The layers that an adapter can be put on, the output layer among them.

    Example:
        >>> import torch
        >>> linear_layers(torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU()))
        {'0': (6, 4)}
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    shapes = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            shapes[name] = (module.out_features, module.in_features)
        elif isinstance(module, Conv1D):  # GPT-2's linear layer
            shapes[name] = (module.nf, module.nx)
    return shapes


def adapters(model: "torch.nn.Module") -> Iterator[tuple[str, str, "LoraLayer"]]:
    """Yield each adapted layer's path in the base model, an adapter's name, and its module."""
    from peft.tuners.lora import LoraLayer

    for path, module in model.named_modules():
        if isinstance(module, LoraLayer):
            name = _base_path(path)
            if hasattr(module, "parameter_name"):  # a wrapper of a single parameter
                name = f"{name}.{module.parameter_name}"
            for adapter in module.r:
                yield name, adapter, module


def adapter_parameters(module: "LoraLayer", adapter: str) -> dict[str, "torch.nn.Parameter"]:
    """Return what an adapter adds to a layer: A, B, and, if asked for, a bias and magnitudes."""
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if not name.startswith("base_layer.") and f".{adapter}." in f"{name}."
    }


def without_adapter(model: "torch.nn.Module") -> dict[str, "torch.nn.Parameter"]:
    """Return the weights of linear layers and experts without an adapter, but for the output's."""
    import torch

    adapted = {name for name, _, _ in adapters(model)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    linear = linear_layers(model)
    found = {}
    for path, module in model.named_modules():
        name = _base_path(path)
        if module is head or name in adapted or ".lora_" in path:
            continue
        for kind, parameter in module.named_parameters(recurse=False):
            stacked = parameter.ndim > 2 and not isinstance(module, torch.nn.modules.conv._ConvNd)
            is_weight = kind == "weight" and path in linear
            if (stacked or is_weight) and f"{name}.{kind}" not in adapted:
                found[f"{name}.{kind}"] = parameter
    return found


def warn_of_the_rest(model: "torch.nn.Module", rest: "dict[str, torch.nn.Parameter]") -> None:
    """Warn of the weights that PEFT's all-linear does not reach, if there are any."""
    if not rest:
        return
    sizes = {name: p.numel() for name, p in model.named_parameters() if ".lora_" not in name}
    part = sum(p.numel() for p in rest.values()) / sum(sizes.values())
    kinds = dict.fromkeys(re.sub(r".*?\.\d+\.", "", name, count=1) for name in rest)
    warnings.warn(
        f"PEFT puts no adapter on {len(rest)} weights, {part:.0%} of the parameters, such as "
        f"{next(iter(rest))}. To train them too, add target_parameters={list(kinds)} to the "
        "LoraConfig",
        stacklevel=3,
    )


def _row(name: str, adapter: str, module: "LoraLayer") -> AdaptedLayer:
    import torch

    if adapter in module.lora_embedding_A:
        a, b = module.lora_embedding_A[adapter], module.lora_embedding_B[adapter]
    else:
        a, b = module.lora_A[adapter].weight, module.lora_B[adapter].weight
    n_experts = getattr(module, "num_experts", 1)
    n_groups = getattr(module.get_base_layer(), "groups", 1)  # of a convolution
    with torch.no_grad():  # ‖BA‖² = trace(BᵀB AAᵀ), which takes two small matrices
        right = a.float().flatten(1).unflatten(0, (n_experts * n_groups, -1))
        left = b.float().flatten(1).unflatten(1, (-1, n_experts)).unflatten(0, (n_groups, -1))
        left = left.permute(3, 0, 1, 2).flatten(0, 1)  # (experts x groups, out / groups, rank)
        squares = ((left.mT @ left) * (right @ right.mT)).sum().clamp(min=0)
    shape = (b.shape[0], *a.shape[1:])
    parameters = adapter_parameters(module, adapter).values()
    return AdaptedLayer(
        name=name,
        adapter=adapter,
        shape=shape if n_experts == 1 else (n_experts, *shape),
        rank=module.r[adapter],
        scaling=module.scaling[adapter],
        n_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        dtype=str(a.dtype).removeprefix("torch."),
        update_norm=float(squares.sqrt()) * abs(module.scaling[adapter]),
    )


def _base_path(path: str) -> str:
    """Return the path that a module has in the base model."""
    return path.removeprefix("base_model.model.").replace(".base_layer", "")
