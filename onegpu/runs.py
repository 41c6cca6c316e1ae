"""What training runs leave on disk: logs to compare, checkpoints to go on from.

Taught in: notebooks/05_training.ipynb
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

__all__ = ["Run", "latest_checkpoint", "read"]

STATE = "trainer_state.json"  # the last file of a checkpoint that `Trainer` writes


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run, as TensorBoard's files tell it.

    Attributes:
        name: The name of its folder.
        settings: What `TrainingArguments` were.
        curves: For each quantity, such as `train/loss` or `eval/loss`, its steps and values.
    """

    name: str
    settings: dict[str, Any]
    curves: dict[str, tuple[list[int], list[float]]]

    def last(self, quantity: str) -> float:
        """Return the last value of a quantity.

        Args:
            quantity: A key of `curves`.

        Returns:
            Its value at the last step that logged it.

        Raises:
            ValueError: The run has not logged it.
        """
        if quantity not in self.curves:
            logged = ", ".join(self.curves)
            raise ValueError(f"run {self.name!r} has no {quantity!r}: it logged {logged}")
        return self.curves[quantity][1][-1]


def read(folder: Path | str) -> list[Run]:
    """Read the runs below a folder that were logged with `report_to="tensorboard"`.

    Args:
        folder: Each folder in it is the `output_dir` of one run.

    Returns:
        The runs, by name. A run that was resumed has several logs, which are joined; of a step
        that was logged twice, the later counts.

    Raises:
        ValueError: There is no log.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for run in sorted(path for path in Path(folder).glob("*") if path.is_dir()):
        settings: dict[str, Any] = {}
        points: dict[str, dict[int, float]] = {}
        logs = {path.parent for path in run.rglob("events.out.tfevents.*")}
        for log in sorted(logs, key=lambda path: (path.stat().st_mtime_ns, path.name)):
            events = EventAccumulator(str(log), size_guidance={"tensors": 0, "scalars": 0})
            events.Reload()
            tags = events.Tags()
            if "args/text_summary" in tags["tensors"]:
                text = events.Tensors("args/text_summary")[-1].tensor_proto.string_val[0]
                settings = json.loads(text)
            for tag in tags["scalars"]:
                points.setdefault(tag, {}).update({e.step: e.value for e in events.Scalars(tag)})
        if logs:
            curves = {
                tag: (sorted(values), [values[step] for step in sorted(values)])
                for tag, values in points.items()
            }
            found.append(Run(run.name, settings, curves))
    if not found:
        raise ValueError(
            f"no log below {folder}: train with report_to='tensorboard' and an output_dir in it"
        )
    return found


def latest_checkpoint(folder: Path | str) -> Path | None:
    """Return the latest complete checkpoint, or nothing where there is none.

    `Trainer` writes a checkpoint file by file. One that a kill or a full disk cut short has the
    highest number, and `resume_from_checkpoint=True` would take it.

    Args:
        folder: The `output_dir` of a run.

    Returns:
        A folder for `trainer.train(resume_from_checkpoint=...)`, or None.
    """
    complete = {}
    for path in Path(folder).glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if number.isdecimal() and _is_complete(path):
            complete[int(number)] = path
    return complete[max(complete)] if complete else None


def _is_complete(checkpoint: Path) -> bool:
    """Return whether the file that is written last is there, and whole."""
    try:
        state = json.loads((checkpoint / STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return "global_step" in state
