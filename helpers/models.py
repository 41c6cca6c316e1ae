"""The base model and tokenizer of a profile.

Taught in: notebooks/00_tldr.ipynb
"""

from typing import TYPE_CHECKING

from helpers.environment import Profile
from onegpu import sources
from onegpu.quantization import keep_trainable

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["load_base_model", "load_tokenizer", "source"]


def source(profile: Profile) -> str:
    """Return what `from_pretrained` takes for the base model of a profile: a folder or a hub name.

    Args:
        profile: Its `base_model` may be the embedded model, a local folder or a hub name.

    Returns:
        See `onegpu.sources.resolve`.

    Raises:
        ValueError: See `onegpu.sources.resolve`.
        RuntimeError: The embedded model cannot be fetched.

    Taught in: notebooks/00_tldr.ipynb
    """
    return sources.resolve(profile.base_model)


def load_tokenizer(profile: Profile) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a profile's base model.

    Args:
        profile: From `environment.profile()`.

    Returns:
        The tokenizer, with its chat template.

    Raises:
        ValueError: See `source`.
        RuntimeError: See `source`.
    """
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source(profile))


def load_base_model(profile: Profile) -> "PreTrainedModel":
    """Load the base model of a profile in 4 bits, as Chapter 0 does.

    Args:
        profile: From `environment.profile()`.

    Returns:
        The model on the profile's device: linear layers in NF4 with double quantization, the
        rest in the profile's number type. What is saved of it, transformers 4 reads, too.

    Raises:
        ValueError: See `source`.
        RuntimeError: See `source`.

    Taught in: notebooks/00_tldr.ipynb
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    model = AutoModelForCausalLM.from_pretrained(
        source(profile),
        dtype=profile.dtype,
        device_map={"": profile.device},
        attn_implementation=profile.attention,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=profile.dtype,
        ),
    )
    keep_trainable(model)
    sources.keep_rope_theta(model.config)
    return model
