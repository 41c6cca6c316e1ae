"""GGUF files: made with llama.cpp's own tools, and looked into."""

import collections
import dataclasses
import json
import re
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

from onegpu import llama_cpp, sources

__all__ = [
    "Inspection",
    "convert",
    "convert_adapter",
    "importance_matrix",
    "inspect",
    "perplexity",
    "quantize",
]

OUTTYPES = ("f32", "f16", "bf16", "q8_0")


def convert(folder: Path | str, path: Path | str, *, outtype: str = "f16") -> Path:
    """Convert a merged model into a GGUF file, with llama.cpp's `convert_hf_to_gguf.py`.

    Args:
        folder: Model, tokenizer and chat template, as `save_pretrained` writes them.
        path: The file to write.
        outtype: `"f32"`, `"f16"`, `"bf16"` or `"q8_0"`, as in the script's `--outtype`.

    Returns:
        The file.

    Raises:
        ValueError: The folder holds an adapter alone, quantized weights, no tokenizer or no
            template; or the type is one that only `quantize` writes.
        RuntimeError: The script failed. The message ends with what it said last.

    Taught in: notebooks/06_deployment.ipynb
    """
    folder, path = Path(folder), Path(path)
    if outtype.lower() not in OUTTYPES:
        raise ValueError(
            f"outtype is {outtype!r}: the converter writes {', '.join(OUTTYPES)}; for K-quants "
            "such as Q4_K_M convert to f16 first, and give that file to gguf.quantize"
        )
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise ValueError(
            f"{folder} holds an adapter alone: load it on its base without quantization, merged = "
            "peft_model.merge_and_unload(), merged.save_pretrained(...) and the tokenizer's too; "
            "or convert_adapter, to apply it in llama.cpp"
        )
    sources.verify_folder(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    quantization = config.get("quantization_config")
    if quantization:
        raise ValueError(
            f"the weights in {folder} are quantized by {quantization.get('quant_method')}, which "
            "llama.cpp does not read: dequantize the base with model.dequantize(), merge there, "
            "and save that"
        )
    llama_cpp.run("convert_hf_to_gguf.py", folder, "--outfile", path, "--outtype", outtype.lower())
    return path


def convert_adapter(folder: Path | str, path: Path | str, *, base: Path | str) -> Path:
    """Convert a LoRA adapter into a GGUF file, with llama.cpp's `convert_lora_to_gguf.py`.

    The file holds one alpha, and llama.cpp divides it by each layer's rank. Scales that this
    cannot tell, of rsLoRA and of an `alpha_pattern`, are multiplied into B.

    Args:
        folder: As `PeftModel.save_pretrained` writes it.
        path: The file to write, in float16.
        base: The folder of the base model, of which only the configuration is read.

    Returns:
        The file.

    Raises:
        ValueError: The folder holds no adapter.
        RuntimeError: The script failed: DoRA, say, or embeddings in the adapter.

    Taught in: notebooks/06_deployment.ipynb
    """
    folder, path = Path(folder), Path(path)
    if not (folder / "adapter_config.json").exists():
        raise ValueError(f"{folder} holds no adapter: expected adapter_config.json")
    with tempfile.TemporaryDirectory() as scratch:
        folder = _of_one_alpha(folder, Path(scratch) / folder.resolve().name)
        script = ("convert_lora_to_gguf.py", folder, "--base", base, "--outfile", path)
        llama_cpp.run(*script, "--outtype", "f16")
    return path


def _of_one_alpha(folder: Path, copy: Path) -> Path:
    """Return the adapter with every scale as alpha / rank: the folder itself, or a copy."""
    from peft import load_peft_weights
    from peft.utils.other import get_pattern_key
    from safetensors.torch import save_file

    settings = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    use_rslora, alphas = settings.get("use_rslora"), settings.get("alpha_pattern") or {}
    if not use_rslora and not alphas:
        return folder
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("adapter_model.*", "checkpoint-*"))
    weights = load_peft_weights(str(folder), device="cpu")
    for name, b in weights.items():
        found = re.fullmatch(r"base_model\.model\.(.+)\.lora_B\.weight", name)
        if found:
            alpha = alphas.get(get_pattern_key(alphas, found[1]), settings["lora_alpha"])
            rank = b.shape[1]
            weights[name] = b.float() * alpha * (rank**0.5 if use_rslora else 1)  # alpha is 1 now
    save_file(weights, copy / "adapter_model.safetensors")
    settings["lora_alpha"] = 1
    (copy / "adapter_config.json").write_text(json.dumps(settings), "utf-8")
    return copy


def quantize(
    source: Path | str, path: Path | str, kind: str, *, matrix: Path | str | None = None
) -> Path:
    """Quantize a GGUF file with llama.cpp's `llama-quantize`.

    Args:
        source: A file in 16 or 32 bits.
        path: The file to write.
        kind: Such as `"Q8_0"` or `"Q4_K_M"`.
        matrix: From `importance_matrix`.

    Returns:
        The file.

    Raises:
        RuntimeError: The program failed: an unknown kind, say.

    Taught in: notebooks/06_deployment.ipynb
    """
    options = ["--imatrix", matrix] if matrix else []
    llama_cpp.run("llama-quantize", *options, source, path, kind)
    return Path(path)


def importance_matrix(model: Path | str, text: Path | str, path: Path | str) -> Path:
    """Count which inputs of each layer matter, with llama.cpp's `llama-imatrix`.

    Args:
        model: A GGUF file in 16 bits.
        text: A text file like what the model will read; at least 512 tokens.
        path: The file to write.

    Returns:
        The file.

    Taught in: notebooks/06_deployment.ipynb
    """
    llama_cpp.run("llama-imatrix", "-m", model, "-f", text, "-o", path, "--parse-special")
    return Path(path)


def perplexity(model: Path | str, text: Path | str, *, context: int = 512) -> float:
    """Return the perplexity of a GGUF model on a text, from llama.cpp's `llama-perplexity`.

    Args:
        model: The GGUF file.
        text: A text file of at least twice `context` tokens.
        context: Tokens in a window; the second half of each is scored.

    Returns:
        From 1.

    Raises:
        RuntimeError: The program failed: the text is too short, say.
    """
    said = llama_cpp.run("llama-perplexity", "-m", model, "-f", text, "-c", str(context))
    found = re.search(r"Final estimate: PPL = ([\d.]+)", said)
    if not found:
        raise RuntimeError(f"no perplexity in what it said:\n{said[-500:]}")
    return float(found[1])


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What is in a GGUF file.

    Attributes:
        path: The file.
        metadata: Its keys and values; of long lists the length alone.
        tensors: For each tensor its name, type, shape and bytes.
        warnings: What is missing or odd, each with what comes of it.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: tuple[tuple[str, str, tuple[int, ...], int], ...]
    warnings: tuple[str, ...]

    @property
    def template(self) -> str | None:
        """The chat template."""
        return self.metadata.get("tokenizer.chat_template")

    def by_type(self) -> dict[str, tuple[int, int]]:
        """Return the number of tensors and their bytes for each type, the largest first."""
        counts: dict[str, tuple[int, int]] = collections.defaultdict(lambda: (0, 0))
        for _, kind, _, n_bytes in self.tensors:
            n, total = counts[kind]
            counts[kind] = n + 1, total + n_bytes
        return dict(sorted(counts.items(), key=lambda item: -item[1][1]))

    def __repr__(self) -> str:
        """Show it as a few lines of text."""
        general = ("general.architecture", "general.name", "tokenizer.ggml.pre")
        lines = [f"{self.path.name}, {self.path.stat().st_size / 1e6:.1f} MB"]
        lines += [f"  {key}: {self.metadata[key]}" for key in general if key in self.metadata]
        for kind, (n, n_bytes) in self.by_type().items():
            lines.append(f"  {n} tensors in {kind}: {n_bytes / 1e6:.1f} MB")
        lines += [f"warning: {warning}" for warning in self.warnings]
        if not self.warnings:
            lines.append("nothing is missing")
        return "\n".join(lines)


def inspect(path: Path | str) -> Inspection:
    """Read what is in a GGUF file, and say what is missing.

    Args:
        path: The file.

    Returns:
        Metadata, tensors and warnings: no chat template, no pre-tokenizer, no end token, an end
        token that the template never writes, a beginning token that would be there twice.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no GGUF file, or cut short.

    Taught in: notebooks/06_deployment.ipynb
    """
    from gguf import GGUFReader

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"{path} is no GGUF file: it does not begin with the letters GGUF")
    try:
        reader = GGUFReader(path)
        metadata = {}
        for name, field in reader.fields.items():
            if len(field.data) > 8:
                metadata[name] = f"{len(field.data):,} values"
            else:
                metadata[name] = field.contents()
        special = {}
        for kind in ("bos", "eos", "eot"):
            key = f"tokenizer.ggml.{kind}_token_id"
            if key in metadata:
                special[kind] = reader.fields["tokenizer.ggml.tokens"].contents(metadata[key])
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise ValueError(
            f"{path} is cut short or damaged ({error}): copy or convert it again"
        ) from error
    tensors = tuple(
        (t.name, t.tensor_type.name, tuple(int(n) for n in t.shape), int(t.n_bytes))
        for t in reader.tensors
    )
    is_model = "tokenizer.ggml.model" in metadata  # and no adapter
    warnings = tuple(_warnings(metadata, special)) if is_model else ()
    return Inspection(path, metadata, tensors, warnings)


def _warnings(metadata: dict[str, Any], special: dict[str, str]) -> list[str]:
    """Return what a chat model's metadata lack. `special` has the text of its special tokens."""
    found = []
    template = metadata.get("tokenizer.chat_template")
    if template is None:
        found.append("no chat template: a server takes one of its own, which may be another")
    if metadata["tokenizer.ggml.model"] == "gpt2" and not metadata.get("tokenizer.ggml.pre"):
        found.append("no pre-tokenizer: text is split differently than in training")
    ends = [special[kind] for kind in ("eos", "eot") if kind in special]
    if not ends:
        found.append("no end token: answers will not stop")
    elif template and not any(end in template for end in ends) and "eos_token" not in template:
        found.append(f"the template never writes the end token {ends[0]!r}: answers may not stop")
    begin = special.get("bos")
    adds = metadata.get("tokenizer.ggml.add_bos_token", False)
    if template and begin and adds and (begin in template or "bos_token" in template):
        found.append(
            f"the template writes the beginning token {begin!r}, and add_bos_token adds it: it may "
            "be there twice"
        )
    return found
