"""The script that measures a card: its rehearsal on a CPU, and how it survives what goes wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PARTS = ("memory", "attention", "speed", "quantization", "determinism", "notebooks")
FAKE = """
import os, pathlib, time

def rows(job):
    return [{"what": what} for what in ("good", "bad", "full", "dies", "last")] + SLOW

def measure(job, *, what):
    import torch

    if what == "bad":
        raise KeyError("no such figure")
    if what == "full":
        raise torch.OutOfMemoryError("tried to allocate 9 GiB")
    if what == "dies":
        os._exit(3)
    if what == "slow":
        time.sleep(60)
    with pathlib.Path(os.environ["MEASURED"]).open("a") as log:
        log.write(what + " ")
    return {"figure": len(what)}
"""


def run(folder, out, *arguments, log=None):
    command = [sys.executable, folder / "gpu.py", "--rehearse", "--out", out, *arguments]
    environment = {"PYTHONPATH": str(BENCHMARKS.parent), "MEASURED": str(log)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def read(out, part):
    return json.loads((out / f"gpu_{part}.json").read_text("utf-8"))


@pytest.fixture
def with_a_fake_part(tmp_path):
    """The script with another `memory` part, which fails in every way."""

    def make(slow=False):
        folder = tmp_path / "benchmarks"
        shutil.copytree(BENCHMARKS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        text = FAKE.replace("SLOW", '[{"what": "slow"}]' if slow else "[]")
        (folder / "gpu_parts" / "memory.py").write_text(text, "utf-8")
        return folder

    return make


def test_one_row_that_fails_costs_no_other(with_a_fake_part, tmp_path):
    """Neither an error, nor a full card, nor a process that dies."""
    folder, out, log = with_a_fake_part(), tmp_path / "out", tmp_path / "log"
    result = run(folder, out, "--parts", "memory", "--commit", "abc", log=log)
    assert result.returncode == 1, result.stderr
    record = read(out, "memory")
    assert record["environment"]["commit"] == "abc"
    rows = {row.pop("setting")["what"]: row for row in record["rows"]}
    assert list(rows) == ["good", "bad", "full", "dies", "last"]
    assert rows["good"]["figure"] == 4 and rows["last"]["figure"] == 4
    assert "KeyError: 'no such figure'" in rows["bad"]["error"]
    assert rows["full"]["out_of_memory"] == "tried to allocate 9 GiB"
    assert rows["dies"]["error"].startswith("not finished: its process died here")
    assert log.read_text().split() == ["good", "last"]


def test_a_second_run_adds_what_the_first_did_not_get_to(with_a_fake_part, tmp_path):
    folder, out, log = with_a_fake_part(slow=True), tmp_path / "out", tmp_path / "log"
    result = run(folder, out, "--parts", "memory", "--minutes", "0.4", log=log)
    assert "memory: its time is over" in result.stdout
    assert [row["setting"]["what"] for row in read(out, "memory")["rows"]][-1] == "slow"
    part = folder / "gpu_parts" / "memory.py"
    part.write_text(part.read_text("utf-8").replace("time.sleep(60)", "pass"), "utf-8")
    run(folder, out, "--parts", "memory", log=log)
    assert log.read_text().split() == ["good", "last", "slow"]
    assert read(out, "memory")["rows"][-1]["figure"] == 4


def test_figures_of_two_cards_do_not_mix(with_a_fake_part, tmp_path):
    folder, out = with_a_fake_part(), tmp_path / "out"
    out.mkdir()
    other = {"environment": {"gpu": "Tesla T4"}, "rows": [{"setting": {"what": "good"}}]}
    (out / "gpu_memory.json").write_text(json.dumps(other), "utf-8")
    result = run(folder, out, "--parts", "memory")
    assert result.returncode == 1
    assert "was measured on Tesla T4, and this is none: a rehearsal" in result.stderr
    assert read(out, "memory") == other


def test_an_unknown_part(tmp_path):
    result = run(BENCHMARKS, tmp_path, "--parts", "memory,sped")
    assert result.returncode == 2
    assert "unknown 'sped': choose of memory,attention" in result.stderr
