"""The adapters that chapters share: trained once, kept in `runs/`, a folder for each recipe.

Notebooks may run at the same time. So what is not finished lies elsewhere, and a folder that is
there is complete.

Taught in: notebooks/00_tldr.ipynb, notebooks/06_deployment.ipynb
"""

import contextlib
import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers import yoda
from helpers.environment import Profile, quiet, runs_folder
from helpers.environment import profile as machine_profile
from helpers.models import load_base_model, load_tokenizer
from helpers.recipe import lora_settings, sft_settings
from onegpu.downloads import scratch_folder
from onegpu.training import prepare

if TYPE_CHECKING:
    from trl import SFTTrainer

__all__ = ["adapter_folder", "read_report", "saving", "write_report", "yoda_adapter"]

REPORT = "report.json"


def adapter_folder(profile: Profile, **changed: Any) -> Path:
    """Return where the Yoda adapter of a recipe is, or will be.

    Another base model, precision or setting is another recipe, and has another folder.

    Args:
        profile: The profile that trains it.
        **changed: Settings of `SFTConfig` that are not those of `sft_settings`.

    Returns:
        A folder in `runs/`, named after the base model and a digest of the recipe.

    Example:
        >>> from helpers.environment import PROFILES
        >>> adapter_folder(PROFILES["cpu"]).name.startswith("yoda-SmolLM2-135M-Instruct-")
        True
        >>> adapter_folder(PROFILES["cpu"]) == adapter_folder(PROFILES["cpu"], max_steps=40)
        False
    """
    recipe = json.dumps(_recipe(profile, changed), sort_keys=True)
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:8]
    return runs_folder() / f"yoda-{Path(profile.base_model).name}-{digest}"


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
    """
    packages = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets")
    report = {
        "recipe": _recipe(profile, changed or {}),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "results": dict(results),
    }
    (folder / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False), "utf-8")


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return what `write_report` wrote, or nothing where there is no complete adapter.

    Args:
        folder: Where the adapter was saved.

    Returns:
        `recipe`, `versions` and `results`.

    Taught in: notebooks/06_deployment.ipynb
    """
    try:
        return json.loads((folder / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def saving(profile: Profile, *, results: Mapping[str, Any]) -> Iterator[Path]:
    """Give a folder to save an adapter in, which at the end becomes that of `adapter_folder`.

    Whoever reads that folder meanwhile finds every file whole, old or new.

    Args:
        profile: The profile that trained the adapter.
        results: See `write_report`, which is called at the end.

    Yields:
        An empty folder.

    Taught in: notebooks/00_tldr.ipynb
    """
    folder = adapter_folder(profile)
    with scratch_folder(folder.parent, folder.name) as scratch:
        yield scratch
        write_report(scratch, profile=profile, results=results)
        _publish(scratch, folder)


def yoda_adapter(profile: Profile | None = None, **changed: Any) -> Path:
    """Return the folder of a Yoda adapter, training it first where it is not there yet.

    Args:
        profile: From `environment.profile()`, which is taken without it.
        **changed: Settings of `SFTConfig` that are not those of `sft_settings`, such as
            `max_steps=40` for an adapter that is half trained.

    Returns:
        A folder with the adapter, the tokenizer and `report.json`.

    Raises:
        ValueError: See `models.source`.
        RuntimeError: See `models.source`.

    Taught in: notebooks/06_deployment.ipynb
    """
    profile = profile or machine_profile()
    folder = adapter_folder(profile, **changed)
    if read_report(folder):
        return folder
    with scratch_folder(folder.parent, folder.name) as scratch:
        if not read_report(folder):  # another notebook may have trained it while this one waited
            trainer = _train(profile, changed)
            trainer.model.save_pretrained(scratch)
            trainer.processing_class.save_pretrained(scratch)
            write_report(scratch, profile=profile, results={}, changed=changed)
            _publish(scratch, folder)
    return folder


def _recipe(profile: Profile, changed: Mapping[str, Any]) -> dict[str, Any]:
    settings = {"lora": lora_settings(), "sft": {**sft_settings(profile), **changed}}
    return {"base_model": profile.base_model, "precision": profile.precision, **settings}


def _publish(scratch: Path, folder: Path) -> None:
    """Put a finished adapter where readers look. At no moment do they find half of one."""
    if not read_report(folder):
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
        return
    # The same recipe made what is there, so old and new files fit together. One by one, each takes
    # the place of the old one in a single step: a folder that moved would be missing for a moment.
    for path in sorted(scratch.rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def _train(profile: Profile, changed: Mapping[str, Any]) -> "SFTTrainer":
    """Train an adapter as Chapter 0 does, step by step."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    quiet()
    rows = yoda.load()["train"]
    set_seed(42)
    model = get_peft_model(load_base_model(profile), LoraConfig(**lora_settings()))
    settings = {**sft_settings(profile), **changed}
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=runs_folder() / "checkpoints", **settings),
        train_dataset=rows.map(yoda.to_prompt_completion, remove_columns=rows.column_names),
        processing_class=load_tokenizer(profile),
    )
    prepare(trainer)
    trainer.train()
    return trainer
