"""What `speed` measures: the rates of the card, then one fine-tune in every way, with its settings.

A row of one technique alone changes the course's settings (4-bit weights, no checkpointing, steps
of 8 padded rows) in the one thing that it is named after; one named after BF16 weights changes
`BF16 weights` in one thing more.
"""

import importlib.util
from typing import Any

from gpu_parts import Job

__all__ = ["LONGEST", "N_PASSES", "rows"]

N_PASSES = 4  # over all rows: one to warm up, when kernels are compiled, and three that count
LONGEST = 1024  # tokens of a row, trl's default
PACKED = 2048  # tokens of a packed row, about as many as 8 rows of the others have
# Unsloth's own defaults are two batches a step and an optimizer in 8 bits.
AS_TRL = {"gradient_accumulation_steps": 1, "optim": "adamw_torch_fused"}
PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}


def rows(job: Job) -> list[dict[str, Any]]:
    """Return the rates that the floor needs, then the variants, what is compared most first.

    Args:
        job: In a rehearsal, packages that are not installed are tried too.

    Returns:
        Rows for `speed.measure`.
    """
    packed = {"packing": True, "max_length": PACKED, "per_device_train_batch_size": 1}
    quick = {**packed, "use_liger_kernel": True, "logging_nan_inf_filter": False}
    installed = [name for name in PACKAGES if job.rehearse or _is_there(PACKAGES[name])]
    varlen = installed[-1] if installed and not job.rehearse else "varlen"
    unsloth = {"trainer": "Unsloth", "weights": "bfloat16"}
    best = {"weights": "bfloat16", "attention": varlen, "casts": False}
    return [
        {"rate": "bfloat16"},
        {"rate": "float16"},
        {"rate": "copy"},
        _row("trl's defaults", weights="float32", profile=None),
        _row("course"),
        _row("best", quick, **best),
        _row("Unsloth", AS_TRL, **unsloth),
        _row("best, compiled", {**quick, "use_liger_kernel": False}, **best, compiled=True),
        _row("Unsloth, packed, no checkpointing", packed | AS_TRL, **unsloth),
        _row("best, 4 times the tokens a step", quick | {"max_length": 4 * PACKED}, **best),
        _row("best, 4 bits", quick, **best | {"weights": "nf4-double"}),
        _row("Unsloth, 4 bits", AS_TRL, trainer="Unsloth"),
        _row("BF16 weights", weights="bfloat16"),
        _row("checkpointing", {"activation_checkpointing": True}),
        _row("packing", packed, attention="varlen"),
        _row("packing, SDPA", packed),
        _row("padding-free", {"padding_free": True, "max_length": None}, attention="varlen"),
        _row("Liger", {"use_liger_kernel": True}),
        _row("batch of 32", {"per_device_train_batch_size": 32}),
        _row(
            "batch of 32 and checkpointing",
            {"per_device_train_batch_size": 32, "activation_checkpointing": True},
        ),
        _row("grouped by length", {"train_sampling_strategy": "group_by_length"}),
        _row("padded to multiples of 128", {"pad_to_multiple_of": 128}),
        _row("optimizer not fused", {"optim": "adamw_torch"}),
        _row("BF16 weights, no casts", weights="bfloat16", casts=False),
        _row("BF16 weights, BF16 adapter", {"bf16": False}, weights="bfloat16", adapter="bfloat16"),
        *(_row(name, packed, weights="bfloat16", attention=name) for name in installed),
        *_rows_of_t4(packed),
        _row("BF16 weights, compiled", weights="bfloat16", compiled=True),
        _row("packing, FlexAttention", packed, attention="flex_attention"),
    ]


def _rows_of_t4(packed: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is tried in a T4's memory; FlashAttention has no kernel for it."""
    t4 = {"profile": "t4", "dtype": "float16", "capped": True}
    quick = {**packed, "use_liger_kernel": True}
    return [
        _row("T4: course", **t4),
        _row("T4: trl's defaults", {"fp16": True}, **t4 | {"profile": None}, weights="float32"),
        _row("T4: FP16 weights", **t4, weights="float16"),
        _row("T4: checkpointing", {"activation_checkpointing": True}, **t4),
        _row("T4: best", quick, **t4),
        _row("T4: Unsloth", AS_TRL, **t4, trainer="Unsloth"),
    ]


def _row(variant: str, changes: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Return a row: the course's settings but for the changes; trl's defaults without a profile."""
    from helpers.environment import PROFILES
    from helpers.recipe import sft_settings

    profile = others.pop("profile", "pod")
    settings = sft_settings(PROFILES[profile]) if profile else {}
    settings |= {"max_length": LONGEST} | (changes or {}) | {"num_train_epochs": N_PASSES}
    settings |= {"save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    defaults = {
        "trainer": "trl",
        "weights": "nf4-double",
        "dtype": "bfloat16",
        "attention": "sdpa",
        "adapter": "float32",
        "casts": True,
        "compiled": False,
        "capped": False,
    }
    return {"variant": variant, **defaults, **others, "settings": settings}


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
