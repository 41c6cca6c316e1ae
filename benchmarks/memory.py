"""Measure training steps on this machine, each beside its plan. Prints JSON.

Every step runs in a process of its own, on random weights of a real architecture: they take the
same memory as trained ones. Add a row to ON_GPU, and send us what you find.

usage: python benchmarks/memory.py > helpers/data/records/memory_<your card>.json
"""

import json
import sys
import tempfile
from typing import Any

from measuring import alone, header

from onegpu import memory

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
FULL: dict[str, Any] = {"model": "SmolLM2-135M", "batch": 4, "seq": 128, "precision": "fp32"}
ADAPTED = FULL | {"lora": LORA}
ON_CPU = [
    FULL | {"checkpointing": False, "attention": "eager"},
    FULL | {"checkpointing": False},
    FULL | {"checkpointing": True},
    ADAPTED | {"checkpointing": False},
    ADAPTED | {"checkpointing": True, "seq": 256},
    ADAPTED | {"checkpointing": False, "precision": "bf16"},
]
LARGE: dict[str, Any] = {"model": "SmolLM2-1.7B", "batch": 4, "seq": 512, "lora": LORA}
ON_GPU = [
    LARGE,
    LARGE | {"checkpointing": False, "batch": 1},
    LARGE | {"quantization": "nf4"},
    LARGE | {"quantization": "nf4-double"},
    LARGE | {"attention": "eager"},
    {"model": "SmolLM2-360M", "batch": 4, "seq": 512},
    {"model": "SmolLM2-360M", "batch": 4, "seq": 512, "optimizer": "adamw_torch_fused"},
    {"model": "SmolLM2-360M", "batch": 4, "seq": 512, "optimizer": "adamw_bnb_8bit"},
    {"model": "SmolLM2-360M", "batch": 4, "seq": 512, "optimizer": "paged_adamw_8bit"},
]
N_STEPS = 2


def measure(name: str, **fields: Any) -> dict[str, Any]:
    """Run a model's steps in this process, and plan them.

    Args:
        name: Of the model.
        **fields: Those of `memory.TrainingStep`.

    Returns:
        What was planned, what was measured, and the one over the other.
    """
    import torch

    from helpers import environment

    environment.quiet()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gpu = torch.cuda.mem_get_info()[1] / 1024**3 if device == "cuda" else 24
    planned = memory.plan(name, gpu=gpu, **fields)
    step = planned.step
    with tempfile.TemporaryDirectory() as folder:
        save_random(name, folder)
        with memory.measure(device) as measured:
            with measured.phase("load"):
                model = load(folder, step, device=device)
                optimizer = build_optimizer(step.optimizer, model)
            shape = (step.batch, step.seq)
            ids = torch.randint(0, model.config.vocab_size, shape, device=device)
            for _ in range(N_STEPS):
                optimizer.zero_grad()
                with measured.phase("forward"):
                    output = model(input_ids=ids, labels=ids)
                with measured.phase("backward"):
                    output.loss.backward()
                with measured.phase("optimizer"):
                    optimizer.step()
    return {
        "planned_bytes": {phase.name: phase.allocated_bytes for phase in planned.phases},
        "measured_bytes": {phase.name: phase.allocated_bytes for phase in measured.phases},
        "measured_reserved_bytes": measured.reserved_bytes,
        "process_bytes": measured.process_bytes,
        "seconds": {name: round(value, 2) for name, value in measured.seconds.items()},
        "measured_over_planned": round(measured.allocated_bytes / planned.allocated_bytes, 4),
    }


def save_random(name: str, folder: str) -> None:
    """Write a model with random weights, in bfloat16 to save disk."""
    import torch
    from transformers import AutoModelForCausalLM

    from onegpu.memory.architectures import configuration

    AutoModelForCausalLM.from_config(configuration(name), dtype=torch.bfloat16).save_pretrained(
        folder
    )


def load(folder: str, step: memory.TrainingStep, *, device: str) -> Any:
    """Load a model as the planner assumes it."""
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    in_4_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=step.quantization == "nf4-double",
        bnb_4bit_compute_dtype=step.dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=step.dtype,
        device_map={"": device},
        attn_implementation=step.attention,
        quantization_config=in_4_bits if step.quantization else None,
    )
    if device == "cpu":  # torch's profiler sees neither the map of a file nor the loader's threads
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
    model.config.use_cache = False
    if step.lora is not None:
        if step.quantization:
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **step.lora))
    if step.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model.train()


def build_optimizer(name: str, model: Any) -> Any:
    """Return the optimizer that transformers would make."""
    import bitsandbytes
    import torch

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


def main() -> None:
    """Measure all rows of this machine."""
    if len(sys.argv) == 2:
        row = json.loads(sys.argv[1])
        print(json.dumps(measure(row.pop("model"), **row)))
        return
    import torch

    on_gpu = torch.cuda.is_available()
    rows = []
    for row in ON_GPU if on_gpu else ON_CPU:
        print(row, file=sys.stderr)
        rows.append(row | alone(__file__, json.dumps(row)))
    card = torch.cuda.get_device_name() if on_gpu else "none: tensors counted on a CPU"
    print(json.dumps({"environment": header() | {"gpu": card}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
