"""Measure training steps on this machine's processor, each beside its plan. Prints JSON.

Every step runs in a process of its own, on random weights of a real architecture: they take the
same memory as trained ones. On a GPU it is the `memory` part of `benchmarks/gpu.py`.

usage: python benchmarks/memory.py > helpers/data/records/memory_<your machine>.json
"""

import json
import sys
from typing import Any

from measuring import alone, header

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
FULL: dict[str, Any] = {"model": "SmolLM2-135M", "batch": 4, "seq": 128, "precision": "fp32"}
ADAPTED = FULL | {"lora": LORA}
ROWS = [
    FULL | {"checkpointing": False, "attention": "eager"},
    FULL | {"checkpointing": False},
    FULL | {"checkpointing": True},
    ADAPTED | {"checkpointing": False},
    ADAPTED | {"checkpointing": True, "seq": 256},
    ADAPTED | {"checkpointing": False, "precision": "bf16"},
]


def measure(**fields: Any) -> dict[str, Any]:
    """Run a model's steps in this process, and plan them.

    Args:
        **fields: Those of `gpu_parts.training_steps.Row`.

    Returns:
        What was planned, what was measured, and the one over the other.
    """
    from gpu_parts.training_steps import Row, run_loop

    from helpers import environment
    from onegpu import memory
    from onegpu.memory.architectures import configuration

    environment.quiet()
    row = Row(**fields)
    planned = memory.plan(row.model, gpu=24, **row.step)
    measured, _ = run_loop(row, configuration(row.model), device="cpu")
    return {
        "planned_bytes": {phase.name: phase.allocated_bytes for phase in planned.phases},
        "measured_bytes": {phase.name: phase.allocated_bytes for phase in measured.phases},
        "seconds": {name: round(value, 2) for name, value in measured.seconds.items()},
        "measured_over_planned": round(measured.allocated_bytes / planned.allocated_bytes, 4),
    }


def main() -> None:
    """Measure all rows."""
    if len(sys.argv) == 2:
        print(json.dumps(measure(**json.loads(sys.argv[1]))))
        return
    rows = []
    for row in ROWS:
        print(row, file=sys.stderr)
        rows.append(row | alone(__file__, json.dumps(row)))
    card = "none: tensors counted on a CPU"
    print(json.dumps({"environment": header() | {"gpu": card}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
