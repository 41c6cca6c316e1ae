"""Whether a saved adapter fits a model.

Taught in: notebooks/03_lora.ipynb
"""

from pathlib import Path
from typing import TYPE_CHECKING

from onegpu.lora.layers import adapters, linear_layers
from onegpu.lora.targets import planned

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig

__all__ = ["verify_adapter"]


def verify_adapter(model: "torch.nn.Module", folder: Path) -> list[str]:
    """Check that a saved LoRA adapter fits a model, before it is loaded onto it.

    PEFT itself only warns when an adapter's weights find no layer, and then answers as the base.

    Args:
        model: The base model, without an adapter.
        folder: Where `save_pretrained` wrote the adapter.

    Returns:
        The layers that the adapter is for, and the parameters that hold experts.

    Raises:
        ValueError: There is no LoRA adapter, it names layers that the model does not have, lacks
            some that its settings ask for, or its shapes are those of another model. The message
            names layers that exist.

    Taught in: notebooks/03_lora.ipynb
    """
    from peft import get_peft_model_state_dict

    settings, saved = _read(model, Path(folder))
    layers = _layers(saved)
    modules = {name for name, _ in model.named_modules()}
    missing = [name for name in layers if name.replace(".base_layer", "") not in modules]
    if missing:
        raise ValueError(
            f"{len(missing)} of the adapter's {len(layers)} layers are not in "
            f"{type(model).__name__}, such as {missing[0]}; it has "
            f"{', '.join(list(linear_layers(model))[:3])}, ... Load the base model that is named "
            "in adapter_config.json"
        )
    plan = planned(model, settings)
    weights = dict(plan.named_parameters(remove_duplicate=False))
    weights |= dict(plan.named_buffers(remove_duplicate=False))
    wanted = get_peft_model_state_dict(plan, state_dict=weights, save_embedding_layers=False)
    lacking = [name for name in _layers(wanted) if name not in layers]
    if lacking:
        raise ValueError(
            f"the adapter has weights for {len(layers)} layers, but {len(_layers(wanted))} layers "
            f"of {type(model).__name__} match its targets. For {lacking[0]}, for example, it has "
            "none. This base model has more layers: load the one that is named in "
            "adapter_config.json"
        )
    known = weights | wanted  # an adapter may bring the base's embeddings along, if they grew
    for key in (*wanted, *saved):
        if key not in saved:
            fault = "is missing from its file"
        elif key not in known:
            fault = "is in its file, but adapter_config.json does not ask for it"
        elif saved[key].shape != known[key].shape:
            fault = f"has shape {tuple(saved[key].shape)}, the model's {tuple(known[key].shape)}"
        else:
            continue
        raise ValueError(
            f"the adapter's {key} {fault}. Load the base model that is named in "
            "adapter_config.json, or save the adapter again"
        )
    return [name for name, _, _ in adapters(plan)]


def _read(model: "torch.nn.Module", folder: Path) -> "tuple[LoraConfig, dict[str, torch.Tensor]]":
    """Return an adapter's settings, and its weights by the names that they get in the model."""
    from peft import PeftConfig, PeftType, load_peft_weights
    from peft.utils.transformers_weight_conversion import (
        convert_peft_adapter_state_dict_for_transformers,
    )

    weights = ("adapter_model.safetensors", "adapter_model.bin")
    if not (folder / "adapter_config.json").exists() or not any(
        (folder / name).exists() for name in weights
    ):
        raise ValueError(
            f"{folder} holds no adapter: expected adapter_config.json and {' or '.join(weights)} "
            "in it"
        )
    settings = PeftConfig.from_pretrained(str(folder))
    saved = load_peft_weights(str(folder), device="cpu")
    if settings.peft_type != PeftType.LORA or not _layers(saved):
        raise ValueError(f"{folder} holds no LoRA weights: it is an adapter of another kind")
    settings.init_lora_weights = False  # some ways need the base's weights
    # transformers 5 stacked the experts that adapters of version 4 know one by one
    saved = convert_peft_adapter_state_dict_for_transformers(model, settings, saved)
    return settings, {key.removeprefix("base_model.model."): saved[key] for key in saved}


def _layers(weights: "dict[str, torch.Tensor]") -> list[str]:
    """Return the paths of the layers that LoRA weights are for."""
    return list(dict.fromkeys(key.split(".lora_")[0] for key in weights if ".lora_" in key))
