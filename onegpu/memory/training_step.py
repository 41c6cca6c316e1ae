"""What a training step is: the settings that decide what it takes of a card."""

import dataclasses
from typing import TYPE_CHECKING, Any

from onegpu.memory.cards import Card

if TYPE_CHECKING:
    import torch

__all__ = ["CHOICES", "TrainingStep"]

# What the settings that are names may be.
CHOICES = {
    "quantization": ("nf4", "nf4-double"),
    "optimizer": ("adamw_torch", "adamw_torch_fused", "adamw_bnb_8bit", "paged_adamw_8bit"),
    "attention": ("sdpa", "eager"),
    "precision": ("bf16", "fp16", "fp32"),
}
MAY_BE_NONE = ("quantization", "precision")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """The settings of a training step.

    Attributes:
        seq: Tokens a row.
        batch: Rows a step (a micro-batch, if gradients are accumulated).
        lora: Keyword arguments of `peft.LoraConfig`, such as `r` and `target_modules`; None for
            full fine-tuning. Trainable weights are float32.
        quantization: None, `"nf4"`, or `"nf4-double"` for double quantization.
        optimizer: `"adamw_torch"`, `"adamw_torch_fused"`, `"adamw_bnb_8bit"` or
            `"paged_adamw_8bit"`, as in `TrainingArguments(optim=...)`.
        checkpointing: Whether activations are computed again in the backward pass.
        attention: `"sdpa"` or `"eager"`.
        precision: Number type of the weights that are not quantized: `"bf16"`, `"fp16"` or
            `"fp32"`; None for bf16, or fp16 on a card that computes no bf16.

    Raises:
        ValueError: A setting is unknown, or they are impossible together.

    Example:
        >>> step = TrainingStep(seq=1024, batch=4, lora={"r": 16})
        >>> dataclasses.replace(step, batch=8).batch
        8
    """

    seq: int
    batch: int
    lora: dict[str, Any] | None = None
    quantization: str | None = None
    optimizer: str = "adamw_torch"
    checkpointing: bool = True
    attention: str = "sdpa"
    precision: str | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value is None and name in MAY_BE_NONE:
                continue
            if value not in choices:
                raise ValueError(f"{name} is {value!r}: choose one of {', '.join(choices)}")
        if self.seq < 1 or self.batch < 1:
            raise ValueError(f"seq is {self.seq} and batch is {self.batch}: both must be 1 or more")
        if self.quantization and self.lora is None:
            raise ValueError(
                f"quantization is {self.quantization!r} and lora is None: quantized weights cannot "
                "be trained, so give lora={'r': 16, ...}"
            )

    @property
    def dtype(self) -> "torch.dtype":
        """The precision as torch names it; there must be one, see `on`."""
        import torch

        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
        return dtypes[self.precision]

    def on(self, card: Card, config: Any) -> "TrainingStep":
        """Return the step with a precision for a card, if none was given.

        Args:
            card: What it would run on.
            config: A configuration of transformers.

        Returns:
            The step, whose precision is not None.

        Raises:
            ValueError: The card or the model cannot do it.
        """
        if self.precision == "bf16" and not card.has_bf16:
            raise ValueError(
                f"precision is 'bf16', and a {card.name} of capability {card.capability} only "
                "emulates it: choose fp16 or fp32"
            )
        max_seq = getattr(config, "max_position_embeddings", None)
        if max_seq and self.seq > max_seq:
            raise ValueError(
                f"seq is {self.seq:,}, and the model has {max_seq:,} positions: no more than that"
            )
        if self.quantization and getattr(config, "num_local_experts", None):
            raise ValueError(
                f"quantization is {self.quantization!r}, and {config.model_type} keeps its experts "
                "in weights that bitsandbytes does not quantize: plan it without"
            )
        if self.precision is not None:
            return self
        return dataclasses.replace(self, precision="bf16" if card.has_bf16 else "fp16")
