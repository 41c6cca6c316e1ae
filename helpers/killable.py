"""A small run that can be killed, or left without disk space, and then resumed.

usage: python -m helpers.killable FOLDER [--kill-at STEP] [--largest-file KB]

It trains an adapter on a tiny random model: eight steps, a checkpoint every three, dropout on.
Start it again with the same folder, and it goes on from the last complete checkpoint. At the end
it prints the steps that are in its log, and a digest of all weights.
"""

import argparse
import hashlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trl import SFTTrainer

__all__ = ["digest", "main", "trainer"]


def main(arguments: list[str] | None = None) -> None:
    """Train, or go on training.

    Args:
        arguments: Of the command line; those of this process without it.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--kill-at", type=int, default=0, metavar="STEP")
    parser.add_argument("--largest-file", type=int, metavar="KB")
    asked = parser.parse_args(arguments)
    if asked.largest_file:
        import resource

        limit = 1024 * asked.largest_file
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    from onegpu import runs

    run = trainer(asked.folder, kill_at=asked.kill_at)
    run.train(resume_from_checkpoint=runs.latest_checkpoint(asked.folder))
    print([log["step"] for log in run.state.log_history if "loss" in log])
    print(digest(run))


def trainer(folder: str, *, kill_at: int = 0) -> "SFTTrainer":
    """Return the trainer of the small run.

    Args:
        folder: For its checkpoints.
        kill_at: The step after which the process kills itself, by signal 9; 0 for never.

    Returns:
        The trainer, before it trains.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    from helpers import environment, models, yoda

    class Killer(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    set_seed(42)
    shape = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    rows = [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:64]]
    return SFTTrainer(
        model=LlamaForCausalLM(shape),
        args=SFTConfig(
            output_dir=folder,
            max_steps=8,
            save_steps=3,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=models.load_tokenizer(environment.profile("cpu")),
        callbacks=[Killer()],
        peft_config=LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.1),
    )


def digest(run: "SFTTrainer") -> str:
    """Return twelve digits that change with any bit of any weight.

    Args:
        run: After `train()`.

    Returns:
        The beginning of the SHA-256 of all weights.
    """
    weights = b"".join(weight.detach().numpy().tobytes() for weight in run.model.parameters())
    return hashlib.sha256(weights).hexdigest()[:12]


if __name__ == "__main__":
    main()
