"""The recipe, and adapters that notebooks share: made once, and never seen half-made."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from helpers import adapters, environment, recipe
from helpers.environment import PROFILES

# A process that asks for the adapter, and says what it does. Training and saving take until it is
# told to go on; the lock says when it is not free.
ASKING = """
import sys
from pathlib import Path
from types import SimpleNamespace

import filelock
from helpers import adapters
from helpers.environment import PROFILES


def say(word):
    print(word, flush=True)
    sys.stdin.readline()


class Lock(filelock.FileLock):
    def acquire(self, *args, **kwargs):
        try:
            return super().acquire(timeout=0)
        except filelock.Timeout:
            print("waits", flush=True)
            return super().acquire()


def save_weights(folder):
    weights = Path(folder, "weights")
    weights.write_text("ha")
    say("saves")
    weights.write_text("half and half")


def train(profile, changed):
    say("trains")
    tokenizer = SimpleNamespace(save_pretrained=lambda folder: None)
    return SimpleNamespace(
        model=SimpleNamespace(save_pretrained=save_weights), processing_class=tokenizer
    )


filelock.FileLock = Lock
adapters._train = train
adapters.runs_folder = lambda: Path(sys.argv[1])
print(adapters.yoda_adapter(PROFILES["cpu"]), flush=True)
"""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(adapters, "runs_folder", lambda: tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def ask(runs):
    """Start processes that ask for the adapter, and end those that are left."""
    started = []

    def start():
        command = [sys.executable, "-c", ASKING, str(runs)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def heard(process):
    return process.stdout.readline().strip()


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_ask_at_once_and_one_trains(ask):
    """Without a lock both trained, and one deleted the folder that the other was reading."""
    folder = adapters.adapter_folder(PROFILES["cpu"])
    first = ask()
    assert heard(first) == "trains"
    second = ask()
    assert heard(second) == "waits"
    go_on(first)
    assert heard(first) == "saves"
    assert not folder.exists(), "half an adapter is there to be read"
    go_on(first)
    assert heard(first) == heard(second) == str(folder)
    assert (folder / "weights").read_text() == "half and half"


def test_a_killed_run_leaves_nothing_that_counts(ask, runs):
    folder = adapters.adapter_folder(PROFILES["cpu"])
    killed = ask()
    assert heard(killed) == "trains"
    go_on(killed)
    assert heard(killed) == "saves"
    killed.kill()
    killed.wait()
    assert adapters.read_report(folder) is None
    following = ask()
    assert heard(following) == "trains"
    go_on(following)
    assert heard(following) == "saves"
    go_on(following)
    assert heard(following) == str(folder)
    assert [path.name for path in runs.iterdir() if path.is_dir()] == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "weights"]


def save(content, profile=PROFILES["cpu"]):
    with adapters.saving(profile, results={"score": content}) as scratch:
        (scratch / "weights").write_text(content)
        (scratch / "templates").mkdir()
        (scratch / "templates" / "tool").write_text(content)
        folder = adapters.adapter_folder(profile)
        inside = adapters.read_report(folder)
    return folder, inside


def test_whoever_reads_while_an_adapter_is_replaced_finds_every_file_whole(runs, monkeypatch):
    """Chapter 0 wrote into the folder from which Chapter 3 was loading."""
    folder, before = save("old")
    assert before is None
    seen = []

    def watched(change):
        def changing(*args, **kwargs):
            result = change(*args, **kwargs)
            seen.append({(folder / name).read_text() for name in ("weights", "templates/tool")})
            return result

        return changing

    for owner, name in ((Path, "rename"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    _, before = save("new")
    assert before["results"] == {"score": "old"}, "visible before it is finished"
    assert set.union(*seen) == {"old", "new"}
    assert adapters.read_report(folder)["results"] == {"score": "new"}
    assert (folder / "weights").read_text() == (folder / "templates/tool").read_text() == "new"


def test_an_adapter_that_failed_to_save_leaves_the_old_one(runs):
    folder, _ = save("old")
    with (
        pytest.raises(KeyboardInterrupt),
        adapters.saving(PROFILES["cpu"], results={}) as scratch,
    ):
        (scratch / "weights").write_text("ne")
        raise KeyboardInterrupt
    assert (folder / "weights").read_text() == "old"
    assert [path.name for path in runs.iterdir() if path.is_dir()] == [folder.name]


def test_a_folder_without_a_readable_report_is_replaced(runs):
    folder, _ = save("old")
    (folder / adapters.REPORT).write_text('{"cut sh')
    (folder / "left over").write_text("by nobody")
    save("new")
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "templates", "weights"]


def test_each_recipe_has_a_folder_of_its_own(monkeypatch):
    cpu = PROFILES["cpu"]
    folders = [
        adapters.adapter_folder(cpu),
        adapters.adapter_folder(cpu, max_steps=40),
        adapters.adapter_folder(cpu, max_steps=41),
        adapters.adapter_folder(environment.profile("cpu", base_model="owner/other")),
        adapters.adapter_folder(environment.profile("cpu", base_model="else/other")),
    ]
    monkeypatch.setattr(adapters, "lora_settings", lambda: {**recipe.lora_settings(), "r": 4})
    folders.append(adapters.adapter_folder(cpu))
    assert len(set(folders)) == len(folders)


@pytest.mark.slow
def test_an_adapter_is_trained_with_what_was_changed(runs, tmp_path, tiny_model, tokenizer):
    """With a learning rate of zero, B stays as it begins: zero."""
    tiny_model.save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    profile = environment.profile("cpu", base_model=str(tmp_path / "tiny"))
    changed = {"max_steps": 2, "learning_rate": 0.0}
    folder = adapters.yoda_adapter(profile, **changed)
    report = adapters.read_report(folder)
    assert report["recipe"]["base_model"] == str(tmp_path / "tiny")
    assert report["recipe"]["sft"] == {**recipe.sft_settings(profile), **changed}
    weights = load_file(folder / "adapter_model.safetensors")
    b = [weight for name, weight in weights.items() if "lora_B" in name]
    assert {weight.shape[1] for weight in b} == {recipe.lora_settings()["r"]}
    assert not any(weight.any() for weight in b)
    made = (folder / "adapter_model.safetensors").stat().st_mtime_ns
    assert adapters.yoda_adapter(profile, **changed) == folder
    assert (folder / "adapter_model.safetensors").stat().st_mtime_ns == made, "trained again"


def test_no_profile_autocasts_to_what_its_card_lacks():
    t4, pod, cpu = (recipe.sft_settings(PROFILES[name]) for name in ("t4", "pod", "cpu"))
    assert t4["fp16"] and not t4["bf16"]
    assert pod["bf16"] and not pod["fp16"]
    assert cpu["use_cpu"] and not cpu["bf16"] and not cpu["fp16"]
