"""Peak memory of training steps on the card, with random weights, to be compared with their plans.

Planning takes seconds of the processor for each row, and the card would wait. So the record holds
what was measured, and `plan_of` makes the plan of a row afterwards, on any machine.
"""

import dataclasses
import importlib.util
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gpu_parts import Job
from gpu_parts.training_steps import FLASH_ATTENTION, Row, forget, run_loop, run_trainer
from onegpu import memory
from onegpu.machine import GIB
from onegpu.memory.architectures import configuration

__all__ = ["measure", "plan_of", "planned", "rows"]

LORA: dict[str, Any] = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
SMALL = Row(model="SmolLM2-1.7B", batch=4, seq=512, precision="bf16", lora=LORA)
QWEN3 = Row(model="Qwen3-4B", batch=2, seq=1024, precision="bf16", lora=LORA)
LARGE = Row(model="Llama-3.1-8B", batch=1, seq=2048, precision="bf16", lora=LORA)
ALL_WEIGHTS = Row(model="Qwen2.5-0.5B", batch=4, seq=512, precision="fp32")
MASTERS = Row(model="SmolLM2-1.7B", batch=4, seq=512, precision="fp32", autocast=True)
PURE = Row(model="SmolLM2-1.7B", batch=4, seq=512, precision="bf16")
SFT: dict[str, Any] = {"trainer": "sft", "autocast": True, "optimizer": "adamw_torch_fused"}
# As on a T4: its memory, FP16, and the kernel of SDPA that it takes.
T4 = Row(
    model="Qwen2.5-7B",
    batch=1,
    seq=1792,
    precision="fp16",
    lora=LORA,
    quantization="nf4-double",
    kernel="EFFICIENT_ATTENTION",
    capped=True,
)
# What matters most comes first. Of a model that is capped there are two or three lengths: the
# longest that a plan lets fit, one that its range of reserved memory forbids, and one whose tensors
# alone are more than the card has. Paged memory is never given back, so it comes last.
CHANGES: list[tuple[Row, dict[str, Any]]] = [
    (SMALL, {}),
    (SMALL, {"quantization": "nf4"}),
    (SMALL, SFT),
    (QWEN3, {}),
    (QWEN3, {"quantization": "nf4"}),
    (QWEN3, {"quantization": "nf4", "upcast": True}),
    (QWEN3, {"quantization": "nf4", "adapter_precision": "bf16", **SFT}),
    (T4, {}),
    (T4, {"seq": 2304}),
    (T4, {"seq": 2688}),
    (ALL_WEIGHTS, {}),
    (ALL_WEIGHTS, {"optimizer": "adamw_bnb_8bit"}),
    (MASTERS, {}),
    (PURE, {}),
    (LARGE, {"quantization": "nf4-double"}),
    (SMALL, {"checkpointing": False}),
    (SMALL, {"attention": "eager"}),
    (SMALL, {"kernel": "FLASH_ATTENTION"}),
    (SMALL, SFT | {"trainer": "dpo"}),
    (SMALL, {"loss": "liger"}),
    (SMALL, {"batch": 1, "seq": 8192}),
    (SMALL, {"batch": 1, "seq": 8192, **SFT}),
    (T4, {"model": "Qwen3-4B", "quantization": "nf4", "seq": 3072}),
    (T4, {"model": "Qwen3-4B", "quantization": "nf4", "seq": 4352}),
    (SMALL, {"quantization": "nf4-double"}),
    (LARGE, {}),
    (T4, {"model": "Llama-3.1-8B", "seq": 1664}),
    (T4, {"model": "Llama-3.1-8B", "seq": 2944}),
    (QWEN3, SFT),
    (LARGE, {"model": "Mistral-7B-v0.3", "quantization": "nf4", "seq": 8192}),
    (ALL_WEIGHTS, {"optimizer": "adamw_torch_fused"}),
    (PURE, {"optimizer": "adamw_bnb_8bit"}),
    *((SMALL, {"kernel": kernel}) for kernel in FLASH_ATTENTION),
    (ALL_WEIGHTS, {"optimizer": "paged_adamw_8bit"}),
]
# What replaces the sizes of a configuration in a rehearsal.
TINY = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


def rows(job: Job) -> list[dict[str, Any]]:
    """Return the settings: about 30 on a card, each kind of row in a rehearsal.

    Args:
        job: See `Job`.

    Returns:
        The fields of `Row`. Left out are packages that are not installed, and in a rehearsal what
        only a GPU can do: Liger's loss and paged optimizers.
    """
    chosen = [dataclasses.replace(row, **changes) for row, changes in CHANGES]
    if job.rehearse:
        chosen = _one_of_each_kind([_small(row) for row in chosen if _is_for_cpu(row)])
    return [dataclasses.asdict(row) for row in chosen if _is_installed(row)]


def _is_for_cpu(row: Row) -> bool:
    on_gpu = row.loss == "liger" or row.optimizer.startswith("paged")
    return not on_gpu and row.kernel not in FLASH_ATTENTION


def _small(row: Row) -> Row:
    """Return a row of few tokens, with the kernel that a CPU has if it names one."""
    kernel = "FLASH_ATTENTION" if row.kernel else None
    return dataclasses.replace(row, batch=2, seq=16, kernel=kernel)


def _one_of_each_kind(chosen: list[Row]) -> list[Row]:
    """Leave out rows that run no code which an earlier one does not."""
    seen: set[Any] = set()
    kept = []
    for row in chosen:
        kinds = {
            ("model", row.model),
            ("weights", row.precision, row.lora is None, row.autocast, row.upcast),
            ("trainer", row.trainer, row.loss, row.quantization),
            *(row.optimizer, row.attention, row.kernel, row.checkpointing),
        }
        if not kinds <= seen:
            kept.append(row)
        seen |= kinds
    return kept


def _is_installed(row: Row) -> bool:
    package = FLASH_ATTENTION.get(row.kernel or "")
    return package is None or importlib.util.find_spec(package) is not None


def measure(job: Job, **setting: Any) -> dict[str, Any]:
    """Train for two steps.

    Args:
        job: See `Job`.
        **setting: The fields of `Row`.

    Returns:
        `phases`, for each its `allocated_bytes` and `reserved_bytes` at the peak and its `seconds`;
        `process_bytes`, what the process held of the card at the end, and of these `cuda_bytes`,
        which torch knows nothing of; and `sdpa_kernels`, those that SDPA took.
    """
    row = Row(**setting)
    config = configuration(row.model)
    if job.rehearse:
        config = type(config)(**TINY, tie_word_embeddings=config.tie_word_embeddings)
    try:
        if row.trainer != "loop":
            measured, model = run_trainer(row, config, device=job.device, scratch=job.scratch)
        else:
            measured, model = run_loop(row, config, device=job.device)
        held = torch.cuda.memory_reserved() if job.device == "cuda" else measured.process_bytes
        kernels = _kernels(row, model, device=job.device)
    finally:
        forget()
    return {
        "phases": {
            phase.name: {
                "allocated_bytes": phase.allocated_bytes,
                "reserved_bytes": phase.reserved_bytes,
                "seconds": round(measured.seconds[phase.name], 2),
            }
            for phase in measured.phases
        },
        "process_bytes": measured.process_bytes,
        "cuda_bytes": measured.process_bytes - held,
        "sdpa_kernels": kernels,
    }


class _Kernels(TorchDispatchMode):
    """Notes which kernels SDPA takes."""

    PREFIX = "_scaled_dot_product_"

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name.startswith(self.PREFIX):
            self.names.add(name.removeprefix(self.PREFIX))
        return func(*args, **(kwargs or {}))


def _kernels(row: Row, model: Any, *, device: str) -> list[str]:
    """Return the kernels of one more pass; `math` is none of its own, and is named for it."""
    if row.attention != "sdpa" or row.kernel:
        return []
    ids = torch.zeros(1, 64, dtype=torch.long, device=device)
    kernels = _Kernels()
    with kernels, torch.autocast(device, dtype=torch.bfloat16, enabled=row.autocast):
        model(input_ids=ids)
    return sorted(kernels.names) or ["math"]


def planned(setting: dict[str, Any], environment: dict[str, Any]) -> dict[str, Any]:
    """Return what a record shows beside a measured row.

    Args:
        setting: See `plan_of`.
        environment: See `plan_of`.

    Returns:
        `planned_bytes`, the peak of each phase, and `planned_to_fit`; or `not_planned`, the reason.
    """
    plan = plan_of(setting, environment)
    if isinstance(plan, str):
        return {"not_planned": plan}
    phases = {phase.name: phase.allocated_bytes for phase in plan.phases}
    return {"planned_bytes": phases, "planned_to_fit": plan.fits}


def plan_of(setting: dict[str, Any], environment: dict[str, Any]) -> memory.Plan | str:
    """Return the plan of a recorded row.

    Args:
        setting: The fields of `Row`.
        environment: Of the record, with the card.

    Returns:
        The plan for the card of the record, or for a T4 where the row imitates one; or why there is
        none.
    """
    row = Row(**setting)
    card = memory.CARDS["t4"]
    if not row.capped:
        gib, capability = environment["gpu_bytes"] / GIB, float(environment["capability"])
        card = memory.Card(environment["gpu"], gib, capability)
    kernel = f"{card.sdpa_kernel.upper()}_ATTENTION"
    if row.kernel not in (None, kernel):
        return f"in a plan for this card the kernel is {kernel}"
    try:
        return memory.plan(row.model, gpu=card, **row.step)
    except ValueError as error:  # such as bfloat16 on a card that only emulates it
        return str(error)
