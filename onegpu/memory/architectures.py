"""Configurations of models by name, so that planning needs no network."""

import json
import re
from pathlib import Path
from typing import Any

__all__ = ["ARCHITECTURES", "configuration"]

FILE = Path(__file__).parents[1] / "data" / "memory" / "architectures.json"
# The models by name. To add one, copy these figures from its own `config.json`.
ARCHITECTURES: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8"))


def configuration(model: Any) -> Any:
    """Return the configuration of a model.

    Args:
        model: A name of `ARCHITECTURES`, with or without its owner and `-Instruct` (and the date
            after it); a folder or a `config.json`; a name on the hub, where there is a network; or
            a configuration, which is returned as it is.

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
        if _short(name) == _short(known):
            return AutoConfig.for_model(**figures)
    path = Path(name)
    try:
        return AutoConfig.from_pretrained(path.parent if path.name == "config.json" else name)
    except (OSError, ValueError) as error:
        names = ", ".join(known.rpartition("/")[2] for known in ARCHITECTURES)
        raise ValueError(
            f"unknown model {name!r}: give one of {names}, a folder with a config.json, or a name "
            f"on the hub where there is a network ({str(error).splitlines()[0][:100]})"
        ) from error


def _short(name: str) -> str:
    """Return a model's name without its owner, and without what says how it was trained."""
    return re.sub(r"-instruct(-\d+)?$", "", name.rpartition("/")[2].lower())
