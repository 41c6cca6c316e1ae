"""The adapters that chapters share: trained once, kept in `runs/`.

Taught in: notebooks/00_tldr.ipynb, notebooks/03_lora.ipynb
"""

import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers import yoda
from helpers.environment import Profile, quiet, runs_folder
from helpers.environment import profile as machine_profile
from helpers.models import load_base_model, load_tokenizer
from helpers.recipe import lora_settings, sft_settings
from onegpu.training import patch_trainer

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import SFTTrainer

__all__ = ["adapter_folder", "read_report", "write_report", "yoda_adapter"]

REPORT = "report.json"


def adapter_folder(profile: Profile) -> Path:
    """Return where the Yoda adapter of a profile's base model lies, or will lie.

    Example:
        >>> from helpers.environment import PROFILES
        >>> adapter_folder(PROFILES["cpu"]).name
        'yoda-SmolLM2-135M-Instruct'
    """
    return runs_folder() / f"yoda-{Path(profile.base_model).name}"


def write_report(
    folder: Path,
    *,
    profile: Profile,
    results: Mapping[str, Any],
    changed: Mapping[str, Any] | None = None,
) -> None:
    """Write beside an adapter what it takes to make it again, and how well it does.

    Its presence marks the folder as complete, so write it last.

    Args:
        folder: Where the adapter was saved.
        profile: The profile that trained it.
        results: Scores and examples, of types that JSON knows.
        changed: Settings of `SFTConfig` that were not those of `sft_settings`.

    Taught in: notebooks/00_tldr.ipynb
    """
    packages = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets")
    report = {
        "recipe": _recipe(profile, changed or {}),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "results": dict(results),
    }
    (folder / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False), "utf-8")


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return what `write_report` wrote, or nothing where there is no complete adapter."""
    try:
        return json.loads((folder / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _recipe(profile: Profile, changed: Mapping[str, Any]) -> dict[str, Any]:
    settings = {"lora": lora_settings(), "sft": {**sft_settings(profile), **changed}}
    return {"base_model": profile.base_model, "precision": profile.precision, **settings}


def yoda_adapter(profile: Profile | None = None) -> Path:
    """Return the folder of the Yoda adapter, training it first where it is not there yet.

    An adapter made by another recipe (base model, number type, settings) is trained anew.

    Args:
        profile: From `environment.profile()`, which is taken without it.

    Returns:
        A folder with the adapter, the tokenizer and `report.json`.

    Raises:
        ValueError: See `models.source`.
        RuntimeError: See `models.source`.

    Taught in: notebooks/03_lora.ipynb
    """
    profile = profile or machine_profile()
    folder = adapter_folder(profile)
    report = read_report(folder)
    if report and report["recipe"] == _recipe(profile, {}):
        return folder
    quiet()
    rows = yoda.load()["train"]
    train = rows.map(yoda.to_prompt_completion, remove_columns=rows.column_names)
    trainer = _train(profile, train)
    shutil.rmtree(folder, ignore_errors=True)
    trainer.model.save_pretrained(folder)
    trainer.processing_class.save_pretrained(folder)
    write_report(folder, profile=profile, results={})
    return folder


def _train(profile: Profile, train: "Dataset") -> "SFTTrainer":
    """Train an adapter as Chapter 0 does, step by step."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    set_seed(42)
    model = get_peft_model(load_base_model(profile), LoraConfig(**lora_settings()))
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=runs_folder() / "checkpoints", **sft_settings(profile)),
        train_dataset=train,
        processing_class=load_tokenizer(profile),
    )
    patch_trainer(trainer)
    trainer.train()
    return trainer
