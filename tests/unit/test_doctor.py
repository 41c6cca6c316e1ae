"""The doctor where people are sent to it: in a Python without the course, or without anything."""

import ast
import importlib.metadata
import inspect
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import onegpu
from onegpu import __main__, doctor
from onegpu.downloads import PROJECT

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path) -> Path:
    """What a fresh clone has that the doctor reads."""
    folder = tmp_path / "clone"
    ignore = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=ignore)
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def run(python, clone) -> subprocess.CompletedProcess:
    outside = {"FINETUNING_CACHE": str(clone / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [python, "-m", "helpers", "doctor"]
    return subprocess.run(
        command, cwd=clone, env=inherited | outside, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("set_up", "fix"),
    [
        (False, "make run (or: pip install -r requirements.txt"),
        (True, "make doctor (the course is"),
    ],
    ids=["fresh clone", "installed in .venv"],
)
def test_a_clone_in_a_python_without_any_package(clone, tmp_path, set_up, fix):
    """In a clone that was not installed, where people are sent to it, the doctor crashed."""
    if set_up:  # as `make run` leaves it
        (clone / ".venv").mkdir()
        (clone / ".venv" / ".installed").touch()
        record = clone / f"{PROJECT.replace('-', '_')}.egg-info"
        record.mkdir()
        (record / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: 1\n")
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    found = run(tmp_path / "bare" / "bin" / "python", clone)
    assert found.stderr == ""
    assert found.returncode == 1
    lines = [line.split() for line in found.stdout.splitlines()]
    assert ["ok", "Python"] in [line[:2] for line in lines]
    assert ["PROBLEM", "the", "course", "not", "installed"] in lines
    assert f"fix: {fix}" in found.stdout
    missing = {line[1] for line in lines if line[-1] == "missing"}
    assert missing == {requirement.name for requirement in requirements()}
    assert "fix: pip install" not in found.stdout, "the one command above installs them all"


def test_a_python_of_a_too_low_version(monkeypatch, capsys):
    """Python 3.9 ended in a TypeError about `|`, which says nothing about Python's version."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    assert __main__.main(["doctor"]) == 1
    said = capsys.readouterr()
    assert said.err == "The course needs Python 3.11 to 3.13. This is 3.9.18.\n"
    assert said.out == ""
    for module in (onegpu, __main__):  # an old Python must get as far as that line
        ast.parse(Path(module.__file__).read_text("utf-8"), feature_version=(3, 7))
    functions = filter(inspect.isfunction, vars(__main__).values())
    annotations = [kind for function in functions for kind in function.__annotations__.values()]
    assert annotations and all(isinstance(kind, str) for kind in annotations), "3.9 computes them"


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_every_requirement_is_read_as_packaging_reads_it():
    """The doctor does without `packaging`; a requirement of another form would go unchecked."""
    expected = {r.name: next(iter(r.specifier)).version for r in requirements()}
    assert all([s.operator for s in r.specifier] == [">="] for r in requirements())
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert doctor.minimums(lines) == expected
    assert doctor.minimums(importlib.metadata.requires(PROJECT)) == expected


@pytest.mark.parametrize(
    "found", ["2.8", "2.8.0", "2.8.0+cu128", "2.10.1", "3", "2.7.9", "2", "1.9"]
)
def test_versions_are_ordered_as_packaging_orders_them(monkeypatch, found):
    """As text, 2.10 would come before 2.8."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found)
    rows = {row.name: row for row in doctor.examine()}
    assert rows["torch"].ok == (Version(found) >= Version("2.8"))
