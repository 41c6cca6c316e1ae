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

import helpers.__main__
import onegpu
from helpers import doctor as course
from helpers import environment
from onegpu import __main__, doctor, llama_cpp
from onegpu.downloads import PROJECT

ROOT = Path(__file__).resolve().parents[2]
# What every command of onegpu needs
BASE = {"bitsandbytes", "filelock", "numpy", "peft", "safetensors", "torch", "tqdm", "transformers"}


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


COURSE = {requirement.name for requirement in requirements()}


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture
def clone(tmp_path) -> Path:
    """What a fresh clone has that the doctor reads."""
    folder = tmp_path / "clone"
    for name in ("helpers", "onegpu", "requirements"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def run(python: Path, clone: Path, package: str) -> subprocess.CompletedProcess:
    outside = {"FINETUNING_CACHE": str(clone / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [python, "-m", package, "doctor"]
    return subprocess.run(
        command, cwd=clone, env=inherited | outside, capture_output=True, text=True, timeout=60
    )


def set_up(clone: Path) -> None:
    """Leave what `make run` leaves."""
    (clone / ".venv").mkdir()
    (clone / ".venv" / ".installed").touch()
    record = clone / f"{PROJECT.replace('-', '_')}.egg-info"
    record.mkdir()
    (record / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: 1\n")


@pytest.mark.parametrize(
    ("package", "is_set_up", "fix", "demanded"),
    [
        ("helpers", False, 'make run (or: pip install -e ".[course]")', COURSE),
        ("helpers", True, "make doctor (it is installed in .venv", COURSE),
        ("onegpu", False, "pip install -e .", BASE),
    ],
    ids=["course, fresh clone", "course, installed in .venv", "onegpu, fresh clone"],
)
def test_a_clone_in_a_python_without_any_package(bare, clone, package, is_set_up, fix, demanded):
    """In a clone that was not installed, where people are sent to it, the doctor crashed."""
    if is_set_up:
        set_up(clone)
    found = run(bare, clone, package)
    assert found.stderr == ""
    assert found.returncode == 1
    lines = [line.split() for line in found.stdout.splitlines()]
    assert ["ok", "Python"] in [line[:2] for line in lines]
    assert ["PROBLEM", PROJECT, "not", "installed"] in lines
    assert f"fix: {fix}" in found.stdout
    assert {line[1] for line in lines if line[-1] == "missing"} == demanded
    assert 'fix: pip install "' not in found.stdout, "the one command above installs them all"
    assert ["note", "SmolLM2-135M-Instruct", "not", "fetched", "yet"] in lines


@pytest.mark.parametrize("command", [__main__.main, helpers.__main__.main])
def test_a_python_of_a_too_low_version(monkeypatch, capsys, command):
    """Python 3.9 ended in a TypeError about `|`, which says nothing about Python's version."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    assert command(["doctor"]) == 1
    said = capsys.readouterr()
    assert said.err == "onegpu needs Python 3.11 to 3.13. This is 3.9.18.\n"
    assert said.out == ""


@pytest.mark.parametrize("module", [onegpu, __main__, helpers, helpers.__main__])
def test_an_old_python_gets_as_far_as_that_line(module):
    ast.parse(Path(module.__file__).read_text("utf-8"), feature_version=(3, 7))
    functions = [f for f in vars(module).values() if inspect.isfunction(f)]
    ours = [f for f in functions if f.__module__ == module.__name__]
    annotations = [kind for f in ours for kind in f.__annotations__.values()]
    assert all(isinstance(kind, str) for kind in annotations), "3.9 computes them"


@pytest.mark.parametrize("extra", ["", "preflight", "deploy", "course"])
def test_every_requirement_is_read_as_packaging_reads_it(extra):
    """The doctor does without `packaging`; a requirement of another form would go unchecked."""
    elsewhere = [folder for folder in sys.path if Path(folder).resolve() != ROOT]
    (installed,) = importlib.metadata.distributions(name=PROJECT, path=elsewhere)
    wanted = [Requirement(line) for line in installed.requires]
    marker = f'extra == "{extra}"' if extra else ""
    wanted = [r for r in wanted if str(r.marker or "") == marker]
    assert wanted
    assert all([s.operator for s in r.specifier] == [">="] for r in wanted)
    expected = {r.name: next(iter(r.specifier)).version for r in wanted}
    assert doctor.minimums(installed.requires, extra=extra) == expected
    assert doctor.minimums(doctor.declared(ROOT), extra=extra) == expected


@pytest.mark.parametrize(
    "found", ["2.8", "2.8.0", "2.8.0+cu128", "2.10.1", "3", "2.7.9", "2", "1.9"]
)
def test_versions_are_ordered_as_packaging_orders_them(monkeypatch, found):
    """As text, 2.10 would come before 2.8."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found)
    rows = {row.name: row for row in doctor.examine()}
    assert rows["torch"].ok == (Version(found) >= Version("2.8"))


@pytest.fixture
def lacking(monkeypatch, tmp_path):
    """A machine without peft, gguf and downloads, and with an old trl."""

    def version(name):
        if name in ("peft", "gguf"):
            raise importlib.metadata.PackageNotFoundError
        return "0.1" if name == "trl" else original(name)

    original = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(llama_cpp, "is_installed", lambda: False)
    monkeypatch.setenv("FINETUNING_CACHE", str(tmp_path / "not" / "there"))


def test_what_is_missing_and_its_fix(lacking, capsys):
    rows = {row.name: row for row in doctor.examine()}
    fix = f'pip install "peft>={doctor.minimums(doctor.declared(ROOT))["peft"]}"'
    assert rows["peft"] == doctor.Check("peft", "missing", False, fix)
    assert rows["torch"].ok and not rows["torch"].fix
    assert "trl" not in rows, "only the course needs it"
    assert __main__.main(["doctor"]) == 1
    shown = capsys.readouterr().out.splitlines()
    (at,) = [i for i, line in enumerate(shown) if line.startswith("PROBLEM")]
    assert shown[at].split() == ["PROBLEM", "peft", "missing"]
    assert shown[at + 1].split(maxsplit=1) == ["fix:", fix]


def test_what_only_some_commands_need_is_no_problem(lacking):
    rows = {row.name: row for row in doctor.examine()}
    assert rows["[preflight]"].fix == 'pip install "gguf>=0.17" "trl>=1.16"'
    assert rows["[preflight]"].found.startswith("lacks gguf, trl (for onegpu preflight")
    assert rows["[deploy]"].fix == 'pip install "gguf>=0.17"', "sentencepiece is there"
    assert rows["SmolLM2-135M-Instruct"].fix == "python -m onegpu fetch"
    assert rows["llama.cpp"].found.startswith("not compiled yet")
    assert all(row.ok for name, row in rows.items() if name != "peft")


def test_the_course_demands_its_packages_and_shows_its_profile(lacking, monkeypatch, capsys):
    """The profile is what a report about a notebook cannot do without."""
    monkeypatch.setenv("FINETUNING_PROFILE", "cpu")
    assert __main__.main(["doctor"], examine=helpers.__main__._examine) == 1
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    problems = {line[1] for line in shown if line[0] == "PROBLEM"}
    assert problems == {"peft", "gguf", "trl"}
    (profile,) = [line for line in shown if line[1] == "profile"]
    assert profile[:4] == ["ok", "profile", "cpu:", "SmolLM2-135M-Instruct,"]
    assert {line[1] for line in shown} >= COURSE
    assert not any(line[1].startswith("[") for line in shown)


def test_the_course_needs_memory(monkeypatch):
    monkeypatch.setenv("FINETUNING_PROFILE", "cpu")
    for gib, ok in ((5.4, False), (5.6, True)):
        monkeypatch.setattr(course, "memory_bytes", lambda gib=gib: int(gib * environment.GIB))
        rows = {row.name: row for row in course.examine()}
        assert rows["memory"].ok is ok
        assert bool(rows["memory"].fix) is not ok


def test_an_unknown_profile(monkeypatch):
    monkeypatch.setenv("FINETUNING_PROFILE", "a100")
    rows = {row.name: row for row in course.examine()}
    assert not rows["profile"].ok
    assert rows["profile"].fix == "unset FINETUNING_PROFILE"


def test_a_torch_that_cannot_be_imported(monkeypatch, tmp_path):
    """A build for CUDA without CUDA's libraries: what the doctor is there to say."""
    (tmp_path / "torch.py").write_text("raise OSError('libcudnn.so.9: cannot open shared object')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch")
    rows = {row.name: row for row in doctor.examine()}
    assert rows["processor"].found == (
        "torch cannot be imported: libcudnn.so.9: cannot open shared object"
    )
    assert not rows["processor"].ok and rows["processor"].fix
    assert "GPU" not in rows
