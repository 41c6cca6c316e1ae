"""Which machine is this: its profile, device, number type and folders.

Taught in: notebooks/00_tldr.ipynb
"""

import dataclasses
import importlib.util
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from onegpu import messages
from onegpu.machine import GIB, cpu_has_bfloat16
from onegpu.sources import EMBEDDED

if TYPE_CHECKING:
    import torch

__all__ = [
    "PROFILES",
    "Profile",
    "profile",
    "quiet",
    "runs_folder",
]


@dataclasses.dataclass(frozen=True)
class Profile:
    """What one kind of machine trains, and how.

    Attributes:
        name: `"cpu"`, `"t4"` or `"pod"`.
        machine: The machines it is for: those with ...
        device: `"cpu"` or `"cuda"`.
        base_model: Name of the base model on the hub, or of the embedded one.
        precision: Number type of the computation, as torch spells it.
        attention: Attention implementation, as transformers spells it.
        batch_size: Rows in a training step.
        learning_rate: Of an adapter: small models take more than large ones.
        bf16: Whether the trainer autocasts to bfloat16.
        fp16: Whether it autocasts to float16, as cards without bfloat16 need.
    """

    name: str
    machine: str
    device: str
    base_model: str
    precision: str
    attention: str
    batch_size: int
    learning_rate: float
    bf16: bool
    fp16: bool

    @property
    def dtype(self) -> "torch.dtype":
        """The number type of the computation as a torch dtype."""
        import torch

        return getattr(torch, self.precision)


# The three profiles, by name.
PROFILES = {
    "cpu": Profile(
        name="cpu",
        machine="no CUDA GPU",
        device="cpu",
        base_model=EMBEDDED,
        precision="bfloat16",
        # At 50 tokens a sentence eager attention trains a fifth faster than SDPA's CPU kernel.
        attention="eager",
        batch_size=4,
        learning_rate=1e-3,
        bf16=False,  # nothing is autocast: the model computes in the type it was loaded in
        fp16=False,
    ),
    "t4": Profile(
        name="t4",
        machine="CUDA below 8.0, or under 20 GiB",
        device="cuda",
        base_model="HuggingFaceTB/SmolLM2-1.7B-Instruct",
        precision="float16",
        attention="sdpa",
        batch_size=8,
        learning_rate=3e-4,
        bf16=False,
        fp16=True,
    ),
    "pod": Profile(
        name="pod",
        machine="CUDA 8.0 and up, 20 GiB and up",
        device="cuda",
        base_model="Qwen/Qwen3-4B-Instruct-2507",
        precision="bfloat16",
        attention="sdpa",
        batch_size=8,
        learning_rate=2e-4,
        bf16=True,
        fp16=False,
    ),
}


def profile(name: str | None = None, *, base_model: str | None = None) -> Profile:
    """Return the profile of this machine, or the one asked for.

    The `cpu` profile computes in bfloat16 where the processor multiplies in it, else in float32;
    the `pod` profile takes FlashAttention where it is installed.

    Two environment variables choose without a change to a notebook: `FINETUNING_PROFILE`, and
    `FINETUNING_BASE_MODEL` for the base model. What a notebook asks for by name is not theirs to
    change: many sections take the small model of the `cpu` profile on every machine.

    Args:
        name: `"cpu"`, `"t4"` or `"pod"`. Without it `FINETUNING_PROFILE` decides, and without that
            the machine does.
        base_model: A hub name or a local folder, in place of the profile's base model. Without it
            and without `name`, `FINETUNING_BASE_MODEL` decides.

    Returns:
        The profile.

    Raises:
        ValueError: The name is unknown, or the profile needs a CUDA GPU that is not there.

    Example:
        >>> profile("cpu").base_model
        'SmolLM2-135M-Instruct'

    Taught in: notebooks/00_tldr.ipynb
    """
    asked = name or os.environ.get("FINETUNING_PROFILE") or _detect()
    if asked not in PROFILES:
        source = "argument" if name else "FINETUNING_PROFILE"
        raise ValueError(
            f"unknown profile {asked!r} ({source}): choose one of {', '.join(PROFILES)}, "
            "or leave it out and let the machine decide"
        )
    chosen = PROFILES[asked]
    if chosen.device == "cuda" and _detect() == "cpu":
        raise ValueError(
            f"profile {asked!r} needs a CUDA GPU and torch sees none: choose profile 'cpu', "
            "or run `python -m helpers doctor` to see what is missing"
        )
    if chosen.name == "cpu" and not cpu_has_bfloat16():
        chosen = dataclasses.replace(chosen, precision="float32")
    if chosen.name == "pod" and importlib.util.find_spec("flash_attn"):
        chosen = dataclasses.replace(chosen, attention="flash_attention_2")
    of_environment = None if name else os.environ.get("FINETUNING_BASE_MODEL")
    return dataclasses.replace(chosen, base_model=base_model or of_environment or chosen.base_model)


def _detect() -> str:
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    card = torch.cuda.get_device_properties(0)
    # The capability, not is_bf16_supported(): that one says yes on a T4, which only emulates it.
    return "pod" if card.major >= 8 and card.total_memory >= 20 * GIB else "t4"


def runs_folder() -> Path:
    """Return the folder for what the notebooks write.

    Returns:
        `runs/` of the checkout; without one, of the working directory.

    Example:
        >>> runs_folder().name
        'runs'
    """
    checkout = Path(__file__).resolve().parent.parent
    return (checkout if (checkout / "pyproject.toml").exists() else Path.cwd()) / "runs"


def quiet() -> None:
    """Hide progress bars, and the messages of libraries that a reader can do nothing about.

    datasets and transformers draw bars for steps that take a second here.

    Taught in: notebooks/00_tldr.ipynb
    """
    warnings.filterwarnings("ignore", message="IProgress not found")  # bars are off anyway
    import datasets
    import transformers

    messages.hide_known()
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
