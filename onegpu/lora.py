"""What an adapter adds to a model, layer by layer, and how large its update is.

Shapes: `A` is (rank, in), `B` is (out, rank), and the update of a weight is scaling × B A.

Taught in: notebooks/03_lora.ipynb
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = [
    "AdaptedLayer",
    "inspect",
    "linear_layers",
    "matching_layers",
    "n_parameters",
    "verify_adapter",
]


@dataclasses.dataclass(frozen=True)
class AdaptedLayer:
    """One layer that carries an adapter.

    Attributes:
        name: The layer's path in the base model.
        adapter: The adapter's name.
        shape: Shape of the base weight, (out, in).
        rank: Width of A and B.
        scaling: What their product is multiplied by: alpha / rank, or alpha / √rank with rsLoRA.
        n_trainable: How many of the adapter's numbers are trained now; 0 if it is frozen.
        dtype: The number type of A and B.
        update_norm: Frobenius norm of scaling × B A; 0 before training.
    """

    name: str
    adapter: str
    shape: tuple[int, int]
    rank: int
    scaling: float
    n_trainable: int
    dtype: str
    update_norm: float


def inspect(model: "torch.nn.Module") -> list[AdaptedLayer]:
    """List the layers of a PEFT model that carry a LoRA adapter.

    Args:
        model: What `get_peft_model` or `PeftModel.from_pretrained` returned.

    Returns:
        A row for each layer and adapter, in the model's order; `pandas.DataFrame(rows)` makes a
        table of them.

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
    rows = list(_rows(model))
    if not rows:
        raise ValueError(
            f"{type(model).__name__} has no LoRA layer: pass what get_peft_model or "
            "PeftModel.from_pretrained returned, not the base model"
        )
    return rows


def _rows(model: "torch.nn.Module") -> Iterator[AdaptedLayer]:
    import torch

    for name, module in model.named_modules():
        for adapter, a in getattr(module, "lora_A", {}).items():
            b = module.lora_B[adapter]
            base = module.get_base_layer()
            with torch.no_grad():  # ‖BA‖² = trace(BᵀB AAᵀ), which takes two small matrices
                left, right = b.weight.float(), a.weight.float()
                norm = ((left.T @ left) * (right @ right.T)).sum().clamp(min=0).sqrt()
            parameters = (a.weight, b.weight)
            yield AdaptedLayer(
                name=name.removeprefix("base_model.model."),
                adapter=adapter,
                shape=(base.out_features, base.in_features),
                rank=a.weight.shape[0],
                scaling=module.scaling[adapter],
                n_trainable=sum(p.numel() for p in parameters if p.requires_grad),
                dtype=str(a.weight.dtype).removeprefix("torch."),
                update_norm=float(norm * abs(module.scaling[adapter])),
            )


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

    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def matching_layers(model: "torch.nn.Module", targets: str | Sequence[str]) -> list[str]:
    """Return the layers that PEFT would adapt for a `target_modules`, before it does.

    Args:
        model: Without an adapter.
        targets: As PEFT takes them: `all-linear` (all but the output layer), a regular expression
            that matches whole paths, or a list of names, each the end of a path.

    Returns:
        Paths of linear layers, in the model's order.

    Raises:
        ValueError: Nothing matches. The message names the layers that there are.

    Example:
        >>> import torch
        >>> matching_layers(torch.nn.Sequential(torch.nn.Linear(4, 6)), ["0"])
        ['0']

    Taught in: notebooks/03_lora.ipynb
    """
    layers = linear_layers(model)
    if targets == "all-linear":
        head = getattr(model, "get_output_embeddings", lambda: None)()
        found = [name for name in layers if model.get_submodule(name) is not head]
    elif isinstance(targets, str):
        found = [name for name in layers if re.fullmatch(targets, name)]
    else:
        found = [n for n in layers if any(n == t or n.endswith(f".{t}") for t in targets)]
    if not found:
        kinds = dict.fromkeys(name.rsplit(".", 1)[-1] for name in layers)
        raise ValueError(
            f"target_modules {targets!r} match no layer. The linear layers of "
            f"{type(model).__name__} end in: {', '.join(kinds)}"
        )
    return found


def n_parameters(model: "torch.nn.Module", *, rank: int, targets: str | Sequence[str]) -> int:
    """Return how many numbers a LoRA adapter would have, before it is made.

    Args:
        model: Without an adapter.
        rank: The width of A and B, at most the smaller side of each layer.
        targets: See `matching_layers`.

    Returns:
        The sum of rank × (in + out) over the layers.

    Raises:
        ValueError: Nothing matches, or the rank is below 1 or above a layer's smaller side.

    Example:
        >>> import torch
        >>> n_parameters(torch.nn.Sequential(torch.nn.Linear(4, 6)), rank=2, targets=["0"])
        20

    Taught in: notebooks/03_lora.ipynb
    Source: Hu et al. 2021, LoRA, section 4, https://arxiv.org/abs/2106.09685
    """
    layers = linear_layers(model)
    shapes = {name: layers[name] for name in matching_layers(model, targets)}
    smallest = min(shapes, key=lambda name: min(shapes[name]))
    if not 1 <= rank <= min(shapes[smallest]):
        raise ValueError(
            f"rank is {rank}: it must be from 1 to {min(shapes[smallest])}, the smaller side of "
            f"{smallest} with shape {shapes[smallest]}; beyond that the product gains nothing"
        )
    return sum(rank * (out + in_) for out, in_ in shapes.values())


def verify_adapter(model: "torch.nn.Module", folder: Path) -> list[str]:
    """Check that a saved LoRA adapter fits a model, before it is loaded onto it.

    PEFT itself only warns when an adapter's weights find no layer, and then answers as the base.

    Args:
        model: The base model, without an adapter.
        folder: Where `save_pretrained` wrote the adapter.

    Returns:
        The layers that the adapter is for.

    Raises:
        ValueError: There is no LoRA adapter, it names layers that the model does not have, lacks
            some that it has, or its shapes are those of another model. The message names layers
            that exist.

    Taught in: notebooks/03_lora.ipynb
    """
    path = Path(folder) / "adapter_model.safetensors"
    if not path.exists():
        raise ValueError(f"{folder} holds no adapter: expected {path.name} in it")
    layers, adapted = linear_layers(model), _saved_shapes(path)
    if not adapted:
        raise ValueError(f"{path} holds no LoRA weights: it is an adapter of another kind")
    missing = [name for name in adapted if name not in layers]
    if missing:
        raise ValueError(
            f"{len(missing)} of the adapter's {len(adapted)} layers are not in "
            f"{type(model).__name__}, such as {missing[0]}; it has "
            f"{', '.join(list(layers)[:3])}, ... Load the base model that is named in "
            "adapter_config.json"
        )
    settings = json.loads((Path(folder) / "adapter_config.json").read_text("utf-8"))
    matching = matching_layers(model, settings["target_modules"])
    if len(matching) > len(adapted):
        lacking = next(name for name in matching if name not in adapted)
        raise ValueError(
            f"the adapter has weights for {len(adapted)} layers, but {len(matching)} layers of "
            f"{type(model).__name__} match its targets. For {lacking}, for example, it has none. "
            "This base model has more layers: load the one that is named in adapter_config.json"
        )
    for name, shapes in adapted.items():
        out_in = (shapes["B"][0], shapes["A"][1])
        if out_in != layers[name]:
            raise ValueError(
                f"the adapter's {name} is for a weight of {out_in}, the model's is {layers[name]}: "
                "another base model. Load the one that is named in adapter_config.json"
            )
    return list(adapted)


def _saved_shapes(path: Path) -> dict[str, dict[str, list[int]]]:
    """Return the shapes of A and B of each layer in an adapter's file."""
    from safetensors import safe_open

    shapes: dict[str, dict[str, list[int]]] = {}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - the file is no mapping
            found = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", key)
            if found:
                shapes.setdefault(found[1], {})[found[2]] = file.get_slice(key).get_shape()
    return shapes
