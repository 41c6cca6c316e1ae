"""Fine-tune with Unsloth, in a process where its versions of trl and transformers come first.

`speed` runs it: python -m gpu_parts.unsloth_run QUESTION.json ANSWER.json
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Answer with the figures of `timed`, or with `refused` where a package is missing.

    Args:
        arguments: The files of the question and of the answer.
    """
    question, answer = (Path(argument) for argument in arguments)
    os.environ |= {"HF_HUB_OFFLINE": "1", "UNSLOTH_DISABLE_STATISTICS": "1"}
    try:
        unsloth = importlib.import_module("unsloth")  # before trl, which it patches
    except ImportError as error:
        figures: dict[str, Any] = {"refused": f"Unsloth cannot be imported: {error}"}
    else:
        figures = _figures(unsloth, **json.loads(question.read_text("utf-8")))
    answer.write_text(json.dumps(figures), "utf-8")


def _figures(unsloth: Any, row: dict[str, Any], device: str, **task: Any) -> dict[str, Any]:
    """Train; return the figures, with the versions that did it."""
    import datasets
    import torch
    import transformers
    import trl

    from gpu_parts.fine_tune import timed
    from onegpu.machine import GIB

    if row["capped"] and device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(task["memory_gib"] * GIB / total)
    try:
        figures = timed(_trainer(unsloth, row, **task), device=device)
    except torch.OutOfMemoryError as error:
        return {"out_of_memory": str(error)}
    packages = (unsloth, trl, transformers, datasets)
    return figures | {"versions": {module.__name__: module.__version__ for module in packages}}


def _trainer(
    unsloth: Any,
    row: dict[str, Any],
    *,
    base: str,
    lengths: list[int],
    vocabulary: int,
    memory_gib: float,
) -> Any:
    """Return Unsloth's trainer: its own checkpointing, unless the row packs."""
    import torch
    from trl import SFTConfig, SFTTrainer

    from gpu_parts.fine_tune import LORA_TARGETS, row_set
    from helpers.recipe import lora_settings

    settings = dict(row["settings"])
    checkpointing = False if settings.get("packing") else "unsloth"
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        base,
        max_seq_length=settings["max_length"],
        dtype=getattr(torch, row["dtype"]),
        load_in_4bit=row["weights"].startswith("nf4"),
        use_gradient_checkpointing=checkpointing,
        local_files_only=True,
    )
    lora = lora_settings()
    model = unsloth.FastLanguageModel.get_peft_model(
        model,
        r=lora["r"],
        lora_alpha=lora["lora_alpha"],
        lora_dropout=lora["lora_dropout"],
        target_modules=list(LORA_TARGETS),
        use_gradient_checkpointing=checkpointing,
        random_state=settings["seed"],
    )
    # Its versions know gradient_checkpointing, and get_peft_model has said it already.
    del settings["activation_checkpointing"]
    return SFTTrainer(
        model=model,
        args=SFTConfig(**settings),
        train_dataset=row_set(lengths, vocabulary=vocabulary),
        processing_class=tokenizer,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
