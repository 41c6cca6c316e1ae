"""Reads a training step from a real trainer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from onegpu.memory.architectures import stored_quantization
from onegpu.memory.training_step import CHOICES, TrainingStep

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["read_step"]

# Trainers of trl by name, and the columns whose lengths make a row once they're tokenized.
TRAINERS = {
    "SFTTrainer": ("sft", ("input_ids",)),
    "DPOTrainer": ("dpo", ("prompt_ids", "chosen_ids", "rejected_ids")),
    "RewardTrainer": ("reward", ("chosen_ids", "rejected_ids")),
    "GRPOTrainer": ("grpo", ()),
}
OPTIMIZERS = {"adamw_8bit": "adamw_bnb_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}
PRECISIONS = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}


def read_step(trainer: "Trainer", *, seq: int | None = None) -> TrainingStep:
    """Return the training step that a trainer would do.

    Args:
        trainer: Of transformers, or `SFTTrainer`, `DPOTrainer`, `RewardTrainer` or `GRPOTrainer` of
            trl. It is not changed.
        seq: Tokens of the longest row; without it, that of the training data.

    Returns:
        The step.

    Raises:
        ValueError: It does something that cannot be planned, or has no rows to measure.
    """
    kind = _kind(trainer)
    args, model = trainer.args, trainer.model
    adapter = getattr(model, "peft_config", {}).get("default")
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("no parameter of the model requires a gradient: there is nothing to train")
    quantization, computing = _quantization(model)
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    precision = computing or _precision(max(frozen or trained, key=lambda p: p.numel()))
    return TrainingStep(
        seq=seq or _longest(trainer, kind),
        batch=args.per_device_train_batch_size,
        lora=adapter,
        trainer=kind,
        loss=_loss(trainer, kind),
        autocast=bool(args.bf16 or args.fp16),
        quantization=quantization,
        upcast=bool(quantization) and _is_upcast(model),
        optimizer=_optimizer(args),
        checkpointing=bool(args.gradient_checkpointing),
        attention="eager" if model.config._attn_implementation == "eager" else "sdpa",
        padded=False if getattr(args, "packing", False) else None,
        precision=precision,
        adapter_precision="fp32" if adapter is None else _precision(trained[0]),
        precompute_ref=bool(getattr(args, "precompute_ref_log_probs", False)),
        generation_batch=getattr(args, "generation_batch_size", None),
    )


def _kind(trainer: Any) -> str:
    names = [one.__name__ for one in type(trainer).__mro__]
    for name, (kind, _) in TRAINERS.items():
        if name in names:
            return kind
    if "Trainer" not in names:
        raise ValueError(f"{names[0]} is no trainer of transformers or trl: give one of these")
    if "_BaseTrainer" in names:
        raise ValueError(f"{names[0]} cannot be planned: only {', '.join(TRAINERS)} and Trainer")
    return "sft"


def _loss(trainer: Any, kind: str) -> str | None:
    if kind != "sft":
        return None
    args = trainer.args
    if not any(one.__name__ == "SFTTrainer" for one in type(trainer).__mro__):
        return "liger" if args.use_liger_kernel else "plain"
    needs_logits = trainer.compute_loss_func is not None or args.label_smoothing_factor > 0
    return "plain" if needs_logits else None


def _quantization(model: Any) -> tuple[str | None, str | None]:
    """Return how a model is quantized, and the precision that its layers compute in."""
    quantization = stored_quantization(None, model.config)
    if quantization is None or quantization == "int8":
        return quantization, quantization and "fp16"
    config = model.config.quantization_config
    settings = config if isinstance(config, dict) else config.to_dict()
    computing = str(settings.get("bnb_4bit_compute_dtype", "float32")).removeprefix("torch.")
    return quantization, PRECISIONS[f"torch.{computing}"]


def _is_upcast(model: Any) -> bool:
    """Whether what is not quantized, the norms among it, is float32."""
    return str(model.get_input_embeddings().weight.dtype) == "torch.float32"


def _precision(parameter: Any) -> str:
    if str(parameter.dtype) not in PRECISIONS:
        raise ValueError(f"weights of {parameter.dtype} cannot be planned: only 16 and 32 bits")
    return PRECISIONS[str(parameter.dtype)]


def _optimizer(args: Any) -> str:
    name = OPTIMIZERS.get(str(args.optim.value), str(args.optim.value))
    if name not in CHOICES["optimizer"]:
        known = ", ".join(name for name in CHOICES["optimizer"] if name)
        raise ValueError(f"optim is {name!r}, and only {known} can be planned")
    return name


def _longest(trainer: Any, kind: str) -> int:
    """Return the tokens of the longest row."""
    rows, columns = trainer.train_dataset, dict(TRAINERS.values())[kind]
    names = getattr(rows, "column_names", None) or []
    if not columns or not hasattr(rows, "__len__") or not set(columns) <= set(names):
        raise ValueError(
            "how long the longest row is can't be read from the trainer's data: give seq=, its "
            "tokens, prompt and answer together"
        )
    lengths = [_lengths(rows[column]) for column in columns]
    if kind == "dpo":
        prompts, chosen, rejected = lengths
        lengths = [[p + max(c, r) for p, c, r in zip(prompts, chosen, rejected, strict=True)]]
    longest = max(max(column) for column in lengths)
    return min(longest, trainer.args.max_length or longest)


def _lengths(column: Iterable[Any]) -> list[int]:
    return [len(row) for row in column]
