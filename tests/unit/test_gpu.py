"""The script that measures a card: its rehearsal on a CPU, and how it survives what goes wrong."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
import torch
from gpu_parts.training_steps import Row

from helpers import gpu_records, records
from onegpu import memory
from tools import gpu_tables

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
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent), "MEASURED": str(log)}
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "memory,sped"], "unknown 'sped': choose from memory,attention"),
        (["--minutes", "-1"], "--minutes is -1: give more than 0"),
        (["--memory-gib", "nan"], "--memory-gib is nan: give more than 0"),
        (["--rehearse", "--out", str(records.FOLDER)], "rehearse in another folder"),
        (["--out", __file__], "a file: give a folder"),
        (["--model", "not/there"], "--model is not/there, which isn't a folder"),
        (["--commit", "abc"], "torch sees no CUDA GPU: run this where there is one"),
    ],
)
def test_wrong_arguments_are_told_before_anything_runs(
    tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["--out", str(tmp_path), *arguments])
    assert message in capsys.readouterr().err


def test_a_record_that_is_no_json_is_kept(tmp_path):
    path = tmp_path / "gpu_memory.json"
    path.write_text("{", "utf-8")
    with pytest.raises(SystemExit, match="is no JSON .*: move it away, and run this again"):
        gpu.main(["--out", str(tmp_path), "--plan"])
    assert path.read_text("utf-8") == "{"


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """The folder of a rehearsal of every part, and what it printed."""
    out = tmp_path_factory.mktemp("rehearsal")
    return out, run(BENCHMARKS, out)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_been_rehearsed_before_a_card_is_rented(rehearsal, part):
    """A typo would cost minutes on the card. What a CPU cannot do says so, and is not an error."""
    out, result = rehearsal
    record = read(out, part)
    assert record["rows"]
    assert not [row for row in record["rows"] if "error" in row], result.stdout[-3000:]
    assert result.returncode == 0, result.stderr[-3000:]
    assert record["environment"]["gpu"] == "none: a rehearsal on a CPU"
    assert {"processor", "torch", "trl", "commit", "command"} <= set(record["environment"])


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_what_a_part_writes_is_what_the_tables_read(rehearsal, part, monkeypatch):
    """Every row that was measured is in the table, with its figures."""
    out, _ = rehearsal
    monkeypatch.setattr(records, "FOLDER", out)
    table = getattr(gpu_records, part)()
    rows = [row["setting"] for row in read(out, part)["rows"]]
    if part == "attention":  # a row a kernel, a column a length
        rows = {(row["filled"], row["kernel"]) for row in rows}
    assert len(table.rows) == len([row for row in rows if "rate" not in row])
    assert "a rehearsal on a CPU" in table.caption
    lines = repr(table).splitlines()
    assert {line.count("|") for line in lines[:-2]} == {len(table.columns) + 1}


def test_the_plans_stand_beside_what_was_measured(tmp_path, monkeypatch):
    """They take seconds each, so they are made when the card has been given back."""
    lora = {"r": 8, "target_modules": "all-linear"}
    step = Row(model="SmolLM2-135M", batch=1, seq=32, precision="bf16", lora=lora)
    other = dataclasses.replace(step, kernel="CUDNN_ATTENTION")
    rows = [dataclasses.asdict(row) for row in (step, other)]
    phases = {"train": dict.fromkeys(("allocated_bytes", "reserved_bytes"), 2**30)}
    figures = {"phases": phases, "process_bytes": 2**31}
    found = {"gpu": "A100", "gpu_bytes": 80 * 2**30, "capability": "8.0"}
    found |= dict.fromkeys(("torch", "transformers", "trl"), "1")
    record = {"environment": found, "rows": [{"setting": row, **figures} for row in rows]}
    (tmp_path / "gpu_memory.json").write_text(json.dumps(record), "utf-8")
    assert run(BENCHMARKS, tmp_path, "--plan").returncode == 0
    planned, not_planned = read(tmp_path, "memory")["rows"]
    plan = memory.plan("SmolLM2-135M", gpu="a100-80", **step.step)
    assert max(planned["planned_bytes"].values()) == plan.allocated_bytes
    assert planned["planned_to_fit"] is True
    assert not_planned["not_planned"].startswith("in a plan for this card")
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    cells = [row[1:] for row in gpu_records.memory().rows]
    assert cells == [
        ("1.0", f"{plan.allocated_bytes / 2**30:.1f}", "1.0", "2.0"),
        ("1.0", "-", "1.0", "2.0"),
    ]
    assert run(BENCHMARKS, tmp_path / "empty", "--plan").returncode == 1


def test_without_a_record_a_table_is_a_line_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    for part in PARTS:
        assert repr(getattr(gpu_records, part)()) == gpu_records.NOT_MEASURED


def test_a_row_that_failed_has_its_name_and_no_figure(tmp_path, monkeypatch):
    settings = [{"variant": name} for name in ("too large", "broken", "not there", "late")]
    reasons = [{"out_of_memory": "..."}, {"error": "..."}, {"refused": "..."}]
    reasons.append({"error": gpu.UNFINISHED})
    found = {"gpu": "T4", "torch": "2", "transformers": "5", "trl": "1"}
    rows = [{"setting": s, **r} for s, r in zip(settings, reasons, strict=True)]
    record = {"environment": found, "rows": rows}
    (tmp_path / "gpu_speed.json").write_text(json.dumps(record), "utf-8")
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    assert gpu_records.speed().rows == (
        ("too large", "out of memory", "", ""),
        ("broken", "failed", "", ""),
        ("not there", "refused", "", ""),
        ("late", "not finished", "", ""),
    )


def test_the_tables_in_the_pages_are_those_of_the_records(tmp_path):
    """Run `python -m tools.gpu_tables` if this fails."""
    for name in gpu_tables.PAGES:
        shutil.copy(BENCHMARKS.parent / name, tmp_path)
    assert gpu_tables.write(tmp_path) == []
    page = tmp_path / "README.md"
    text = page.read_text("utf-8")
    assert gpu_records.NOT_MEASURED in text or "Measured by `make gpu`" in text
    page.write_text(text.replace("<!-- end of gpu", "a line by hand\n<!-- end of gpu"), "utf-8")
    assert gpu_tables.write(tmp_path) == ["README.md"]
    assert page.read_text("utf-8") == text
