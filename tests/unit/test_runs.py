"""Runs on disk: logs read back, checkpoints that are whole, and a run that is killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onegpu import runs


def log(folder: Path, settings: dict | None, points: dict[str, dict[int, float]]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        if settings is not None:
            writer.add_text("args", json.dumps(settings))
        for tag, values in points.items():
            for step, value in values.items():
                writer.add_scalar(tag, value, step)


def test_logs_are_read_back(tmp_path):
    log(tmp_path / "slow/runs/a", {"learning_rate": 2e-5}, {"train/loss": {1: 3.0, 2: 2.5}})
    log(tmp_path / "fast/runs/a", {"learning_rate": 1e-3}, {"train/loss": {1: 3.0, 2: 1.5}})
    (tmp_path / "not-a-run").mkdir()
    fast, slow = runs.read(tmp_path)
    assert (fast.name, slow.name) == ("fast", "slow")
    assert fast.settings == {"learning_rate": 1e-3}
    assert slow.curves == {"train/loss": ([1, 2], [3.0, 2.5])}
    assert fast.last("train/loss") == 1.5
    with pytest.raises(ValueError, match="run 'fast' has no 'eval/loss': it logged train/loss"):
        fast.last("eval/loss")


def test_a_resumed_run_is_one_run(tmp_path):
    """Killed after step 3, resumed from step 1: steps 2 and 3 were done twice."""
    log(tmp_path / "run/runs/first", {"seed": 1}, {"train/loss": {1: 5.0, 2: 4.0, 3: 3.0}})
    os.utime(tmp_path / "run/runs/first", (1, 1))  # the older one, whatever the clock's steps
    log(tmp_path / "run/runs/again", {"seed": 1}, {"train/loss": {2: 4.5, 3: 3.5, 4: 2.5}})
    (run,) = runs.read(tmp_path)
    assert run.curves["train/loss"] == ([1, 2, 3, 4], [5.0, 4.5, 3.5, 2.5])


def test_no_log_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="train with report_to='tensorboard'"):
        runs.read(tmp_path)


def test_the_latest_whole_checkpoint_is_taken(tmp_path):
    assert runs.latest_checkpoint(tmp_path) is None
    for name, state in (
        ("checkpoint-9", '{"global_step": 9}'),
        ("checkpoint-10", '{"global_step": 10}'),
        ("checkpoint-11", '{"global'),  # cut short
        ("checkpoint-12", None),  # killed before the last file
        ("checkpoint-best", '{"global_step": 99}'),
    ):
        (tmp_path / name).mkdir()
        if state is not None:
            (tmp_path / name / "trainer_state.json").write_text(state, "utf-8")
    assert runs.latest_checkpoint(tmp_path).name == "checkpoint-10"


TRAIN = """
import hashlib, os, signal, sys
from helpers import environment, models, yoda
from onegpu import runs
environment.quiet()
from datasets import Dataset
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

folder, when = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Killed(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if when == str(state.global_step):
            die()

class Trainer(SFTTrainer):
    def _save_rng_state(self, output_dir):  # adapter and optimizer are written, the rest is not
        if when == f"saving {self.state.global_step}":
            die()
        super()._save_rng_state(output_dir)

set_seed(42)
sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
trainer = Trainer(
    model=LlamaForCausalLM(LlamaConfig(vocab_size=49152, num_key_value_heads=4, **sizes)),
    args=SFTConfig(output_dir=folder, max_steps=6, save_steps=2, use_cpu=True, bf16=False,
                   per_device_train_batch_size=4, disable_tqdm=True, report_to="none"),
    train_dataset=Dataset.from_list(list(map(yoda.to_prompt_completion, yoda.rows("train")[:16]))),
    processing_class=models.load_tokenizer(environment.profile("cpu")),
    peft_config=LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.1),
    callbacks=[Killed()],
)
trainer.train(resume_from_checkpoint=runs.latest_checkpoint(folder))
weights = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
print("weights", hashlib.sha256(weights).hexdigest())
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    """With dropout, over an epoch's end, killed between checkpoints, in one, and before any."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN, "utf-8")

    def train(folder: str, when: str) -> tuple[int, str]:
        command = [sys.executable, str(script), str(tmp_path / folder), when]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode in (0, -9), ended.stderr[-2000:]
        return ended.returncode, ended.stdout.strip()[-72:]

    _, whole = train("whole", "never")
    assert whole.startswith("weights ")
    for when, latest in (("1", None), ("saving 4", "checkpoint-2"), ("5", "checkpoint-4")):
        assert train("killed", when)[0] == -9
        checkpoint = runs.latest_checkpoint(tmp_path / "killed")
        assert (checkpoint and checkpoint.name) == latest
    assert (tmp_path / "killed/checkpoint-4").exists()
    assert train("killed", "never") == (0, whole)
