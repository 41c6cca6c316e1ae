"""What a training step is: the settings that decide what it takes of a card."""

import dataclasses
from typing import TYPE_CHECKING, Any

from onegpu.memory.cards import Card

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig

__all__ = ["CHOICES", "TrainingStep"]

# What the settings that are names may be. None leaves the choice to `TrainingStep.on`.
CHOICES: dict[str, tuple[str | None, ...]] = {
    "trainer": ("sft", "dpo", "reward", "grpo", "loop"),
    "loss": (None, "chunked", "plain", "liger"),
    "quantization": (None, "nf4", "nf4-double", "int8"),
    "optimizer": (None, "adamw_torch_fused", "adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit"),
    "attention": (None, "sdpa", "eager"),
    "precision": (None, "bf16", "fp16", "fp32"),
    "adapter_precision": ("fp32", "bf16", "fp16"),
}
# The losses that each trainer can compute, its own first.
LOSSES = {
    "sft": ("chunked", "plain", "liger"),
    "dpo": ("chunked",),
    "grpo": ("chunked",),
    "loop": ("plain", "liger"),
    "reward": (None,),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """The settings of a training step.

    Attributes:
        seq: Tokens a row; with `"dpo"` and `"grpo"` those of a prompt and an answer together.
        batch: Rows a step (a micro-batch, if gradients are accumulated); of `"dpo"` and `"reward"`
            pairs.
        lora: Keyword arguments of `peft.LoraConfig`, such as `r` and `target_modules`, or any
            configuration of peft; None for full fine-tuning.
        trainer: `"sft"`, `"dpo"`, `"reward"` or `"grpo"`, as trl has them, or `"loop"`: a loop of
            your own, in which the output of the model lives on through the backward pass.
        loss: `"chunked"`, trl's own, which never holds all logits; `"plain"`, that of
            transformers, its `Trainer` and older versions of trl; `"liger"`, Liger's fused one.
            None for the trainer's own. (A reward has none.)
        autocast: Whether operations compute in 16 bits, whatever the weights are: `bf16=True` or
            `fp16=True` of a trainer. None for yes, as in trl, but no in a loop.
        quantization: None, `"nf4"`, `"nf4-double"` for double quantization, or `"int8"`.
        upcast: Whether `prepare_model_for_kbit_training` makes what is not quantized float32.
        optimizer: `"adamw_torch_fused"`, `"adamw_torch"`, `"adamw_bnb_8bit"` or
            `"paged_adamw_8bit"`, as in `TrainingArguments(optim=...)`. None for the first, as in
            transformers, but for the second in a loop, where it is what torch takes.
        checkpointing: Whether activations are computed again in the backward pass.
        attention: `"sdpa"` or `"eager"`; None for the first where the model has it.
        padded: Whether rows differ in length, so that attention needs a mask, which SDPA's
            FlashAttention doesn't take. None for yes if a trainer is given more than one row.
        precision: Number type in which the weights are loaded: `"bf16"`, `"fp16"` or `"fp32"`. None
            for float32 in full fine-tuning, as in trl; under an adapter for bf16, or fp16 on a card
            that computes no bf16. In full fine-tuning gradients and states have it too.
        adapter_precision: Number type of the adapter: peft makes it float32, trl bf16 on a
            quantized base, which this course undoes.
        precompute_ref: As `DPOConfig(precompute_ref_log_probs=...)`: no reference model during
            training. Without it the base model under the adapter is the reference, and in full
            fine-tuning a second model.
        generation_batch: Rows that GRPO generates at once, with a cache; None for `batch`.

    Raises:
        ValueError: A setting is unknown, or they are impossible together.

    Example:
        >>> step = TrainingStep(seq=1024, batch=4, lora={"r": 16})
        >>> dataclasses.replace(step, batch=8).batch
        8
    """

    seq: int
    batch: int
    lora: "dict[str, Any] | PeftConfig | None" = None
    trainer: str = "sft"
    loss: str | None = None
    autocast: bool | None = None
    quantization: str | None = None
    upcast: bool = False
    optimizer: str | None = None
    checkpointing: bool = True
    attention: str | None = None
    padded: bool | None = None
    precision: str | None = None
    adapter_precision: str = "fp32"
    precompute_ref: bool = False
    generation_batch: int | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                known = ", ".join(choice for choice in choices if choice)
                raise ValueError(f"{name} is {value!r}: choose one of {known}")
        if self.seq < 1 or self.batch < 1:
            raise ValueError(f"seq is {self.seq} and batch is {self.batch}: both must be 1 or more")
        if self.quantization and self.lora is None:
            raise ValueError(
                f"quantization is {self.quantization!r} and lora is None: quantized weights cannot "
                "be trained, so give lora={'r': 16, ...}"
            )
        losses = LOSSES[self.trainer]
        if self.loss not in (None, *losses):
            raise ValueError(
                f"loss is {self.loss!r}, and the trainer {self.trainer!r} computes "
                f"{' or '.join(losses) if losses != (None,) else 'a loss without logits'}: leave "
                "loss out, or choose that"
            )

    @property
    def dtype(self) -> "torch.dtype":
        """The precision as torch names it; there must be one, see `on`."""
        return _dtype(self.precision)

    @property
    def trained_dtype(self) -> "torch.dtype":
        """The number type of the weights that are trained."""
        return self.dtype if self.lora is None else _dtype(self.adapter_precision)

    @property
    def rank(self) -> int | None:
        """The rank of the adapter, if it has one."""
        if isinstance(self.lora, dict):
            return self.lora.get("r", 8)
        return getattr(self.lora, "r", None)

    @property
    def targets(self) -> str:
        """The layers of the adapter, by commas; those that peft chooses are not named."""
        if isinstance(self.lora, dict):
            targets = self.lora.get("target_modules")
        else:
            targets = getattr(self.lora, "target_modules", None)
        return targets if isinstance(targets, str) else ", ".join(sorted(targets or ()))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings other than batch and length, as JSON has them.

        Returns:
            The settings by their names; of the adapter its kind, rank and targets.
        """
        settings = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("seq", "batch", "lora")
        }
        kind = "LoRA" if isinstance(self.lora, dict) else getattr(self.lora, "peft_type", None)
        adapter = {"kind": kind and str(getattr(kind, "value", kind)), "rank": self.rank}
        return {"adapter": adapter | {"targets": self.targets}, **settings}

    def __str__(self) -> str:
        adapter = self.to_dict()["adapter"]
        rank = f" of rank {adapter['rank']}" if adapter["rank"] else ""
        targets = f" on {adapter['targets']}" if adapter["targets"] else ""
        parts = [
            f"{self.trainer}{f' with the {self.loss} loss' if self.loss else ''}",
            f"{adapter['kind']}{rank}{targets}" if adapter["kind"] else "all weights",
            *((self.quantization,) if self.quantization else ()),
            f"weights {self.precision}{', upcast' if self.upcast else ''}",
            "autocast" if self.autocast else "no autocast",
            str(self.optimizer),
            "checkpointing" if self.checkpointing else "no checkpointing",
            f"{self.attention}{' with masks' if self.padded else ''}",
        ]
        return ", ".join(parts)

    def on(self, card: Card, config: Any) -> "TrainingStep":
        """Return the step with everything chosen that was left open.

        Args:
            card: What it would run on.
            config: A configuration of transformers.

        Returns:
            The step; nothing is None that a trainer would choose.

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
        is_trainer = self.trainer != "loop"
        in_16_bits = "bf16" if card.has_bf16 else "fp16"
        return dataclasses.replace(
            self,
            precision=self.precision or ("fp32" if self.lora is None else in_16_bits),
            autocast=is_trainer if self.autocast is None else self.autocast,
            padded=is_trainer and self.batch > 1 if self.padded is None else self.padded,
            optimizer=self.optimizer or ("adamw_torch_fused" if is_trainer else "adamw_torch"),
            attention=self.attention or ("sdpa" if _has_sdpa(config) else "eager"),
            loss=self.loss or LOSSES[self.trainer][0],
        )


def _has_sdpa(config: Any) -> bool:
    from transformers import AutoModelForCausalLM

    kind = AutoModelForCausalLM._model_mapping.get(type(config), None)
    return getattr(kind, "_supports_sdpa", True)


def _dtype(precision: str | None) -> "torch.dtype":
    import torch

    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    return dtypes[precision]
