"""A trainer patched where its settings do not reach, and the losses that it logged.

Taught in: notebooks/00_tldr.ipynb
"""

import dataclasses
import time
import types
from typing import TYPE_CHECKING, Any

from onegpu.losses import learned_tokens_loss

if TYPE_CHECKING:
    from trl import SFTTrainer

__all__ = ["LossPoint", "loss_history", "prepare"]


def prepare(trainer: "SFTTrainer") -> None:
    """Change three things in a trainer that no setting of trl 1.16 changes.

    - The adapter's weights become float32. On a 4-bit base trl makes them bfloat16, in which
      the last small updates are rounded away, and which a T4's loss scaler refuses.
    - On a CPU the loss is `learned_tokens_loss`. trl's own is written for the GPU: without
      Triton it computes the vocabulary's logits at every position, those of the prompt too,
      and computes them again in the backward pass.
    - A line with step, loss and remaining time takes the place of the printed logs, and is
      gone at the end.

    Args:
        trainer: Before `train()`. It is changed in place.

    Taught in: notebooks/00_tldr.ipynb
    """
    from transformers import PrinterCallback

    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    if trainer.args.device.type == "cpu":
        trainer.compute_loss = types.MethodType(learned_tokens_loss, trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_progress_line())


def _progress_line() -> Any:
    """Return a callback that shows one line of progress, and clears it at the end."""
    from IPython.display import clear_output
    from transformers import TrainerCallback

    class ProgressLine(TrainerCallback):
        start, loss = 0.0, ""

        def on_train_begin(self, args, state, control, **kwargs):
            self.start = time.monotonic()

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in (logs or {}):
                self.loss = f"loss {float(logs['loss']):.3f}, "

        def on_step_end(self, args, state, control, **kwargs):
            passed = time.monotonic() - self.start
            left = passed / state.global_step * (state.max_steps - state.global_step)
            clear_output(wait=True)
            step = f"step {state.global_step} of {state.max_steps}"
            print(f"{step}, {self.loss}about {left:.0f} s left", end="", flush=True)

        def on_train_end(self, args, state, control, **kwargs):
            clear_output()

    return ProgressLine()


@dataclasses.dataclass(frozen=True)
class LossPoint:
    """One logged point of a training run.

    Attributes:
        step: Optimizer step.
        loss: Mean loss of the learned tokens since the point before, in nats a token.
    """

    step: int
    loss: float


def loss_history(trainer: "SFTTrainer") -> list[LossPoint]:
    """Return the losses that a trainer logged.

    Args:
        trainer: After `train()`.

    Returns:
        A point every `logging_steps` steps.

    Raises:
        ValueError: The trainer has not trained, or logged nothing.

    Taught in: notebooks/00_tldr.ipynb
    """
    logs = [log for log in trainer.state.log_history if "loss" in log]
    if not logs:
        raise ValueError("no loss was logged: call trainer.train() first, with logging_steps set")
    return [LossPoint(int(log["step"]), float(log["loss"])) for log in logs]
