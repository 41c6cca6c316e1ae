"""The course's recipe: the settings of LoRA and of the trainer, for each profile.

Taught in: notebooks/05_training.ipynb
"""

from typing import Any

from helpers.environment import Profile

__all__ = ["lora_settings", "sft_settings"]


def lora_settings() -> dict[str, Any]:
    """Return the keyword arguments of `peft.LoraConfig`, the same for every profile.

    Returns:
        Rank, alpha, dropout, target modules and task.

    Example:
        >>> lora_settings()["r"]
        16

    Taught in: notebooks/05_training.ipynb
    Source: Dettmers et al. 2023, QLoRA, section 4: adapters on every linear layer,
        https://arxiv.org/abs/2305.14314
    """
    return {
        "r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
    }


def sft_settings(profile: Profile) -> dict[str, Any]:
    """Return the keyword arguments of `trl.SFTConfig` for a profile.

    Args:
        profile: From `environment.profile()`.

    Returns:
        Everything but `output_dir`.

    Example:
        >>> from helpers.environment import PROFILES
        >>> sft_settings(PROFILES["cpu"])["num_train_epochs"]
        1

    Taught in: notebooks/05_training.ipynb
    """
    return {
        "per_device_train_batch_size": profile.batch_size,
        "learning_rate": profile.learning_rate,
        "num_train_epochs": 1,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 5,
        "max_length": 128,
        "activation_checkpointing": False,
        "use_cpu": profile.device == "cpu",
        "bf16": profile.bf16,
        "fp16": profile.fp16,
        "seed": 42,
        "logging_steps": 10,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": profile.device == "cuda",
    }
