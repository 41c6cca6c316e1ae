"""Training steps of models with random weights: a plain loop, or a real trainer of trl."""

import contextlib
import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

from gpu_parts.fine_tune import SPECIAL, row_set, word_tokenizer
from gpu_parts.random_weights import random_model
from onegpu import memory

__all__ = ["FLASH_ATTENTION", "Row", "forget", "run_loop", "run_trainer"]

N_STEPS = 2  # optimizers make their states in the first step, so the second is the rule
FLASH_ATTENTION = {  # packages beside torch, by the name that transformers has for them
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row(memory.TrainingStep):
    """A training step of a plain loop, if nothing else is said, and how it is run.

    Attributes:
        model: A name of `memory.ARCHITECTURES`, its owner left out.
        kernel: Of attention: None for torch's choice among those of SDPA, a name of
            `torch.nn.attention.SDPBackend`, or one of `FLASH_ATTENTION`.
        capped: Whether it runs with the memory of a small card, see `benchmarks/gpu.py`.
    """

    model: str
    lora: dict[str, Any] | None = None
    trainer: str = "loop"
    autocast: bool = False
    optimizer: str = "adamw_torch"
    attention: str = "sdpa"
    padded: bool = False  # all rows are of one length
    kernel: str | None = None
    capped: bool = False

    @property
    def step(self) -> dict[str, Any]:
        """The fields that a plan is made from."""
        names = [field.name for field in dataclasses.fields(memory.TrainingStep)]
        return {name: getattr(self, name) for name in names}


def forget() -> None:
    """Let bitsandbytes forget earlier models: it holds on to them, and to their settings."""
    from bitsandbytes import functional, optim

    optim.GlobalOptimManager.get_instance().initialize()
    functional.GlobalPageManager.get_instance().initialize()


def run_loop(row: Row, config: Any, *, device: str) -> tuple[memory.Measurement, Any]:
    """Train in a loop of our own, in the phases of a plan.

    Args:
        row: What is trained, and how.
        config: A configuration of transformers.
        device: `"cuda"` or `"cpu"`.

    Returns:
        What was measured, and the model.
    """
    with memory.measure(device) as measured, _kernel(row):
        with measured.phase("load"):
            model = _adapt(_load(row, config, device=device), row, device=device)
            optimizer = _optimizer(row.optimizer, model)
        ids = torch.randint(0, config.vocab_size, (row.batch, row.seq), device=device)
        for _ in range(N_STEPS):
            optimizer.zero_grad()
            with measured.phase("forward"), _autocast(row, device):
                output = model(input_ids=ids, labels=ids)
            with measured.phase("backward"):
                output.loss.backward()
            with measured.phase("optimizer"):
                optimizer.step()
            del output  # its logits, before the next ones
    return measured, model


def run_trainer(
    row: Row, config: Any, *, device: str, scratch: Path
) -> tuple[memory.Measurement, Any]:
    """Train with trl, in the phases `load` and `train`.

    Args:
        row: What is trained, and how.
        config: A configuration of transformers.
        device: `"cuda"` or `"cpu"`.
        scratch: A folder that the trainer may write to.

    Returns:
        What was measured, and the model.
    """
    with memory.measure(device) as measured, _kernel(row):
        with measured.phase("load"):
            model = _load(row, config, device=device)
            trainer = _trainer(row, model, device=device, scratch=scratch)
        with measured.phase("train"):
            trainer.train()
    return measured, trainer.model


@contextlib.contextmanager
def _kernel(row: Row) -> Iterator[None]:
    """Leave SDPA one kernel, if the row names one."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if row.kernel is None or row.kernel in FLASH_ATTENTION:
        yield
    else:
        with sdpa_kernel(getattr(SDPBackend, row.kernel)):
            yield


def _autocast(row: Row, device: str) -> torch.autocast:
    return torch.autocast(device, dtype=torch.bfloat16, enabled=row.autocast)


def _load(row: Row, config: Any, *, device: str) -> Any:
    model = random_model(
        config,
        device=device,
        dtype=row.dtype,
        attention=row.kernel if row.kernel in FLASH_ATTENTION else row.attention,
        quantization=row.quantization,
    )
    if row.quantization and row.upcast:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model


def _adapt(model: Any, row: Row, *, device: str) -> Any:
    """Make a model ready to be trained, as the trainers do by themselves."""
    if row.loss == "liger":
        _use_ligers_loss(model)
    if row.lora is not None:
        with torch.device(device):
            model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **row.lora))
    if row.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(row.trained_dtype)
    return model.train()


def _use_ligers_loss(model: Any) -> None:
    """Let a Llama compute its loss without all logits; its other layers stay as they are.

    Liger's other kernels would replace classes of transformers, in later rows too.
    """
    liger = importlib.import_module("liger_kernel.transformers")  # which no computer here needs
    liger.apply_liger_kernel_to_llama(rope=False, rms_norm=False, swiglu=False, model=model)


def _optimizer(name: str, model: Any) -> torch.optim.Optimizer:
    """Return the optimizer that transformers would make."""
    import bitsandbytes

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if name.startswith("adamw_torch"):
        return torch.optim.AdamW(trainable, lr=1e-4, fused=name.endswith("fused"))
    manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})
    return bitsandbytes.optim.AdamW(
        trainable, lr=1e-4, optim_bits=8, is_paged=name.startswith("paged")
    )


def _trainer(row: Row, model: Any, *, device: str, scratch: Path) -> Any:
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    n_rows = N_STEPS * row.batch
    if row.trainer == "sft":
        kind, settings_of = SFTTrainer, SFTConfig
        data = row_set([row.seq] * n_rows, vocabulary=model.config.vocab_size)
    else:
        kind, settings_of = DPOTrainer, DPOConfig
        data = _pairs(n_rows, seq=row.seq)
    settings = settings_of(
        output_dir=str(scratch),
        max_steps=N_STEPS,
        per_device_train_batch_size=row.batch,
        max_length=row.seq,
        activation_checkpointing=row.checkpointing,
        optim=row.optimizer,
        bf16=row.autocast,
        use_cpu=device == "cpu",
        dataloader_pin_memory=device == "cuda",
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    adapter = None if row.lora is None else LoraConfig(task_type="CAUSAL_LM", **row.lora)
    return kind(
        model=model,
        args=settings,
        train_dataset=data,
        processing_class=word_tokenizer(len(SPECIAL)),
        peft_config=adapter,
    )


def _pairs(n_rows: int, *, seq: int) -> Any:
    """Return preferences: a prompt of half the tokens and two answers to it, of one word."""
    from datasets import Dataset

    word = SPECIAL["bos_token"]
    prompt, answer = word * (seq // 2), word * (seq - seq // 2 - 1)  # trl adds the end
    row = {"prompt": prompt, "chosen": answer, "rejected": answer}
    return Dataset.from_list([row] * n_rows)
