"""Configurations of models by name, so that planning needs no network."""

import difflib
import json
import re
from pathlib import Path
from typing import Any

__all__ = ["ARCHITECTURES", "configuration", "stored_quantization"]

FILE = Path(__file__).parents[1] / "data" / "memory" / "architectures.json"
# The models by name: what their `config.json` says of their size, or its text part does. To add
# one, copy these figures, and put a link to where they are from in front, as its `source`.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    name: {key: value for key, value in entry.items() if key != "source"}
    for name, entry in json.loads(FILE.read_text("utf-8")).items()
}
# Parts of a name that say how a model was trained, or that its weights are stored in 4 bits.
VARIANT = re.compile(
    r"-(instruct|it|pt|base|chat|thinking|hf|unsloth|bnb|4bit|bf16)(?=-|$)", re.IGNORECASE
)
DATE = re.compile(r"-\d{4}(?=-|$)")
DEQUANTIZED = ("mxfp4", "fp8")  # formats of files that are trained in 16 bits
TIMEOUT = 3  # seconds that the hub has to answer


def configuration(model: Any) -> Any:
    """Return the configuration of a model.

    Of a model that also sees or hears, it is that of the text part, which is what is trained on
    text: `AutoModelForCausalLM.from_config` builds it. The other parts are left out, with their
    weights; some models load them nonetheless (Gemma 3 4B: 420 million).

    Args:
        model: A name of `ARCHITECTURES`, with or without its owner, its date, and what says how it
            was trained (`-Instruct`, `-it`, `-Base`) or stored (`-bnb-4bit`); a folder or a
            `config.json`; a name on the hub, which is looked up where there is a network, unless
            its `config.json` is in the cache; or a configuration of transformers.

    Returns:
        A configuration of transformers.

    Raises:
        ValueError: There is no such model, its `config.json` is broken, or the installed
            transformers does not know its architecture.

    Example:
        >>> configuration("Qwen2.5-7B-Instruct").hidden_size
        3584
    """
    from transformers import AutoConfig, PreTrainedConfig

    if isinstance(model, PreTrainedConfig):
        return _text_part(model)
    name = str(model)
    path = Path(name)
    if path.is_dir():
        return _read(path / "config.json")
    if path.suffix == ".json" or path.is_file():
        return _read(path)
    known = _find(name)
    if known is not None:
        return AutoConfig.for_model(**ARCHITECTURES[known])
    return _read(_from_hub(name))


def stored_quantization(model: Any, config: Any) -> str | None:
    """Return how the weights of a model are stored, if they are quantized and stay so in training.

    Args:
        model: A name, or anything else.
        config: Its configuration.

    Returns:
        `"nf4"`, `"nf4-double"` or `"int8"`; None where they are in 16 bits, or made so.

    Raises:
        ValueError: They are quantized in a way that cannot be planned.
    """
    settings = getattr(config, "quantization_config", None) or {}
    settings = settings if isinstance(settings, dict) else settings.to_dict()
    is_double = settings.get("bnb_4bit_use_double_quant")
    if settings.get("load_in_4bit"):
        return "nf4-double" if is_double else "nf4"
    if settings.get("load_in_8bit"):
        return "int8"
    method = getattr(settings.get("quant_method"), "value", settings.get("quant_method"))
    if method and method not in DEQUANTIZED:
        raise ValueError(
            f"the model is quantized by {method}: only the 4 and 8 bits of bitsandbytes can be "
            "planned, so plan the model that it was made from"
        )
    return "nf4-double" if "bnb-4bit" in str(model).lower() else None


def _find(name: str) -> str | None:
    """Return the key of `ARCHITECTURES` that a name means, or None."""
    for shorten in (_without_owner, _without_variant, _without_date):
        for known in ARCHITECTURES:
            if shorten(name) == shorten(known):
                return known
    return None


def _without_owner(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _without_variant(name: str) -> str:
    return VARIANT.sub("", _without_owner(name)).removeprefix("meta-")


def _without_date(name: str) -> str:
    return DATE.sub("", _without_variant(name))


def _text_part(config: Any) -> Any:
    """Return the configuration of the text part of a model, or of a model that has no other."""
    text = config.get_text_config(decoder=True)
    tied = getattr(config, "tie_word_embeddings", None)
    if text is config or tied == getattr(type(config), "tie_word_embeddings", None):
        return text
    # Said of the whole model, as by Qwen3.5 4B, it holds for its text part too
    return type(text).from_dict(text.to_dict() | {"tie_word_embeddings": tied})


def _read(file: Path) -> Any:
    """Return the configuration in a file."""
    from transformers import CONFIG_MAPPING, AutoConfig

    try:
        figures = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"there is no {file}: give a folder with a config.json, as save_pretrained writes it"
        ) from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}") from error
    kind = figures.get("model_type") if isinstance(figures, dict) else None
    if not isinstance(kind, str):
        raise ValueError(
            f"{file} names no model_type: it must be the config.json of a model, which says "
            "which architecture it has"
        )
    if kind not in CONFIG_MAPPING:
        reason = "is not in the installed transformers"
        if "auto_map" in figures:
            reason += ", but in Python code that comes with the model, which is not run here"
        raise ValueError(
            f"the architecture {kind!r} of {file} {reason}: update transformers, or plan a model "
            "of the same size that it knows"
        )
    try:
        return _text_part(AutoConfig.from_pretrained(file))
    except Exception as error:  # transformers checks the figures with errors of many kinds
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} is no configuration of {kind!r}: {reason}") from error


def _from_hub(name: str) -> Path:
    """Return the `config.json` of a model on the hub, from the cache where it is there."""
    import huggingface_hub as hub

    try:
        cached = hub.try_to_load_from_cache(name, "config.json")
        if isinstance(cached, str):
            return Path(cached)
        # One short request: without an answer, a download is tried again for a minute
        hub.get_hf_file_metadata(hub.hf_hub_url(name, "config.json"), timeout=TIMEOUT)
        return Path(hub.hf_hub_download(name, "config.json"))
    except Exception as error:  # of the network, of the hub, or of the name
        raise ValueError(
            f"unknown model {name!r}: {_suggestion(name)}, a folder with a config.json, or a name "
            f"on the hub where there is a network ({str(error).splitlines()[0][:100]})"
        ) from error


def _suggestion(name: str) -> str:
    """Return which known models a name may mean."""
    names = {_without_owner(known): known.rpartition("/")[2] for known in ARCHITECTURES}
    close = difflib.get_close_matches(_without_owner(name), names, n=3)
    if close:
        return f"did you mean {' or '.join(names[match] for match in close)}? Give such a name"
    return "give a name that `onegpu plan --help` lists"
