"""Configurations of models by name, so that planning needs no network.

The figures are those of the models' own `config.json`.
"""

from pathlib import Path
from typing import Any

__all__ = ["ARCHITECTURES", "configuration"]

# hidden, layers, heads, key-value heads, intermediate, vocabulary, longest row, tied, and the rest
ARCHITECTURES: dict[str, tuple[str, int, int, int, int, int, int, int, bool, dict[str, Any]]] = {
    "HuggingFaceTB/SmolLM2-135M": ("llama", 576, 30, 9, 3, 1536, 49152, 8192, True, {}),
    "HuggingFaceTB/SmolLM2-360M": ("llama", 960, 32, 15, 5, 2560, 49152, 8192, True, {}),
    "HuggingFaceTB/SmolLM2-1.7B": ("llama", 2048, 24, 32, 32, 8192, 49152, 8192, True, {}),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": ("llama", 2048, 22, 32, 4, 5632, 32000, 2048, False, {}),
    "meta-llama/Llama-3.2-1B": (
        *("llama", 2048, 16, 32, 8, 8192, 128256, 131072, True),
        {"head_dim": 64},
    ),
    "meta-llama/Llama-3.2-3B": (
        *("llama", 3072, 28, 24, 8, 8192, 128256, 131072, True),
        {"head_dim": 128},
    ),
    "meta-llama/Llama-3.1-8B": ("llama", 4096, 32, 32, 8, 14336, 128256, 131072, False, {}),
    "Qwen/Qwen2.5-0.5B": ("qwen2", 896, 24, 14, 2, 4864, 151936, 32768, True, {}),
    "Qwen/Qwen2.5-1.5B": ("qwen2", 1536, 28, 12, 2, 8960, 151936, 32768, True, {}),
    "Qwen/Qwen2.5-3B": ("qwen2", 2048, 36, 16, 2, 11008, 151936, 32768, True, {}),
    "Qwen/Qwen2.5-7B": ("qwen2", 3584, 28, 28, 4, 18944, 152064, 32768, False, {}),
    "mistralai/Mistral-7B-v0.1": (
        *("mistral", 4096, 32, 32, 8, 14336, 32000, 32768, False),
        {"sliding_window": 4096},
    ),
    "mistralai/Mistral-7B-v0.3": (
        *("mistral", 4096, 32, 32, 8, 14336, 32768, 32768, False),
        {"sliding_window": None},
    ),
    "mistralai/Mixtral-8x7B-v0.1": (
        *("mixtral", 4096, 32, 32, 8, 14336, 32000, 32768, False),
        {"num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None},
    ),
}


def configuration(model: Any) -> Any:
    """Return the configuration of a model.

    Args:
        model: A name of `ARCHITECTURES`, with or without its owner and `-Instruct`; a folder or
            a `config.json`; a name on the hub, where there is a network; or a configuration,
            which is returned as it is.

    Returns:
        A configuration of transformers.

    Raises:
        ValueError: None of these.

    Example:
        >>> configuration("Qwen2.5-7B-Instruct").hidden_size
        3584
    """
    from transformers import AutoConfig, PreTrainedConfig

    if isinstance(model, PreTrainedConfig):
        return model
    name = str(model)
    for known, figures in ARCHITECTURES.items():
        short = known.rpartition("/")[2]
        if name.rpartition("/")[2].lower() in (short.lower(), f"{short}-instruct".lower()):
            return _from_figures(*figures)
    path = Path(name)
    try:
        return AutoConfig.from_pretrained(path.parent if path.name == "config.json" else name)
    except (OSError, ValueError) as error:
        names = ", ".join(known.rpartition("/")[2] for known in ARCHITECTURES)
        raise ValueError(
            f"unknown model {name!r}: give one of {names}, a folder with a config.json, or a name "
            f"on the hub where there is a network ({str(error).splitlines()[0][:100]})"
        ) from error


def _from_figures(
    kind: str,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    intermediate: int,
    vocab: int,
    positions: int,
    tied: bool,
    more: dict[str, Any],
) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(
        kind,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=intermediate,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        max_position_embeddings=positions,
        **more,
    )
