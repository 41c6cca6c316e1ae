"""Newer versions, tried with fakes for uv, pip and checks; the table made from the pins; prose."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_static import code_of

from tools import check, prose, update, versions

ROOT = Path(__file__).resolve().parents[2]
CHECK_OUTPUT = """
== ruff lint
All checks passed!

== unit tests
....F
=== short test summary info ===
FAILED tests/unit/test_lora.py::test_merge - \x1b[91mAssertionError: 0.5\x1b[0m
1 failed, 4 passed in 2.00s

== prose
FAQ.md:3: teh ==> the

ruff lint                ok                                           0 s
unit tests               FAILED (1)   1 failed, 4 passed              2 s
prose                    FAILED (1)                                   1 s
1 passed, 2 failed
"""


def test_changes_are_what_differs():
    old = {"trl": "1.16.0", "peft": "0.21.2", "gone": "1"}
    new = {"trl": "1.17.0", "peft": "0.21.2", "come": "2"}
    assert update.changes(old, new) == [
        ("come", "none", "2"),
        ("gone", "1", "none"),
        ("trl", "1.16.0", "1.17.0"),
    ]


def test_pins_know_names_by_any_spelling_and_leave_out_local_versions():
    text = "# a comment\ntorch==2.13.0+cpu\nhuggingface_hub==2.4.0\n-e git+https://x.org#egg=y\n"
    assert versions.pins(text) == {"torch": "2.13.0", "huggingface-hub": "2.4.0"}


def test_what_torch_brings_for_cuda_is_no_pin():
    text = "torch==2.13.0\nnvidia-cublas==13.1\ntriton==3.7.1\ncuda-toolkit==13.0\n"
    assert update.tested(text) == {"torch": "2.13.0"}


def test_uv_looks_where_pip_looks():
    """A workflow leads pip to torch's builds for CPUs; uv alone would resolve those for CUDA."""
    settings = {"PIP_EXTRA_INDEX_URL": "https://a.org/cpu https://b.org", "PIP_FIND_LINKS": ""}
    command = [sys.executable, "-m", "pip", "config", "list"]
    environment = {**os.environ, **settings}
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    options = update.as_pip(listed.stdout)
    assert [options[i + 1] for i, word in enumerate(options) if word == "--extra-index-url"] == [
        "https://a.org/cpu",
        "https://b.org",
    ]
    assert "--find-links" not in options
    known = "global.index-url='https://a.org'\nglobal.timeout='60'\n"
    assert update.as_pip(known) == ["--index-url", "https://a.org"]


def test_uv_knows_the_options(tmp_path):
    """It resolves nothing here, but refuses what it does not know."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\n', "utf-8")
    options = [
        word for name in update.SHARED if name != "constraint" for word in (f"--{name}", ".")
    ]
    command = [sys.executable, *update.RESOLVE, "--offline", *options]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_failures_name_the_check_and_the_test():
    assert update.failures(CHECK_OUTPUT) == {
        "unit tests": ["FAILED tests/unit/test_lora.py::test_merge - AssertionError: 0.5"],
        "prose": ["FAQ.md:3: teh ==> the"],
    }
    assert update.failures("ruff lint                ok\n1 passed, 0 failed\n") == {}


def test_the_summary_is_what_failures_reads(monkeypatch, capsys):
    """The two tools agree on the output only as long as someone checks."""
    fails = ["sh", "-c", "echo 'FAILED tests/x.py::y'; exit 1"]
    monkeypatch.setattr(check, "CHECKS", {"ruff lint": ["true"], "API drift": fails})
    assert check.main([]) == 1
    assert update.failures(capsys.readouterr().out) == {"API drift": ["FAILED tests/x.py::y"]}


class FakeRun:
    """In place of uv, pip and the checks: answers by what the command holds, and keeps commands."""

    def __init__(self, check_output: str, check_code: int):
        self.check = check_output, check_code
        self.commands = []

    def __call__(self, command, *, show=False):
        """Answer a command."""
        words = [str(word) for word in command]
        self.commands.append(words)
        text, code = "", 0
        if "compile" in words:
            text = "accelerate==1.16.0\nnvidia-cublas==13.1\ntrl==1.17.0+cpu\n"
        elif words[-1] == "tools.check":
            text, code = self.check
        elif "venv" in words:
            Path(words[-1]).mkdir()
        return subprocess.CompletedProcess(words, code, text)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "constraints.txt").write_text("trl==1.16.0\naccelerate==1.15.0\n", "utf-8")
    (tmp_path / "requirements.txt").write_text("trl>=1.16\n", "utf-8")
    page = "before\n<!-- versions -->\n<!-- end of versions -->\nafter\n"
    (tmp_path / "FAQ.md").write_text(page, "utf-8")
    return tmp_path


def test_what_broke_leaves_the_constraints_alone(root, monkeypatch, capsys):
    before = {path.name: path.read_text("utf-8") for path in root.iterdir()}
    fake = FakeRun(CHECK_OUTPUT, 1)
    monkeypatch.setattr(update, "run", fake)
    assert update.main(root) == 1
    assert {name: (root / name).read_text("utf-8") for name in before} == before
    printed = capsys.readouterr().out
    assert "| trl | 1.16.0 | 1.17.0 |" in printed
    assert "test_lora.py::test_merge" in printed
    assert "**Checks that failed: 2.**" in (root / ".venv-update" / "report.md").read_text("utf-8")
    *_, installed, checked = fake.commands
    fresh = str(root / ".venv-update" / "bin" / "python")
    assert installed[0] == checked[0] == fresh, "never the present .venv"
    pins = Path(installed[installed.index("--requirement") + 1])
    assert pins.read_text("utf-8") == "accelerate==1.16.0\ntrl==1.17.0\n"


def test_checks_that_end_without_a_summary_count_as_broken(root, monkeypatch):
    """A check.py that died of a new version would otherwise have passed for success."""
    monkeypatch.setattr(update, "run", FakeRun("ImportError: packaging", 1))
    assert update.main(root) == 1
    assert "trl==1.16.0" in (root / "constraints.txt").read_text("utf-8")


def test_the_constraints_are_written_when_all_passed(root, monkeypatch):
    monkeypatch.setattr(update, "run", FakeRun("1 passed, 0 failed\n", 0))
    assert update.main(root) == 0
    assert (
        (root / "constraints.txt")
        .read_text("utf-8")
        .endswith("\naccelerate==1.16.0\ntrl==1.17.0\n")
    )
    assert "| `trl` | 1.17.0 | >=1.16 |" in (root / "FAQ.md").read_text("utf-8")


def test_nothing_newer_installs_nothing(root, monkeypatch):
    (root / "constraints.txt").write_text("accelerate==1.16.0\ntrl==1.17.0\n", "utf-8")
    fake = FakeRun("", 1)
    monkeypatch.setattr(update, "run", fake)
    assert update.main(root) == 0
    assert not (root / ".venv-update").exists()


def test_the_table_of_versions_is_that_of_the_constraints(tmp_path):
    """A table written by hand once told readers of versions that nobody had run."""
    for name in ("FAQ.md", "constraints.txt", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    assert not versions.write(tmp_path), "run `python -m tools.versions`"
    pins = tmp_path / "constraints.txt"
    pins.write_text(pins.read_text("utf-8").replace("\ntrl==1.", "\ntrl==2."), "utf-8")
    assert versions.write(tmp_path)
    (tmp_path / "FAQ.md").write_text("no marks", "utf-8")
    with pytest.raises(ValueError, match="marks of the table of versions once, not 0"):
        versions.write(tmp_path)


def test_a_misspelled_word_is_found_where_it_stands():
    texts = [("FAQ.md", "The model.\nTeh model."), ("notebooks/x.ipynb, cell 3", "a lenght")]
    assert prose.misspelled(texts) == [
        "FAQ.md:2: Teh ==> The",
        "notebooks/x.ipynb, cell 3:1: lenght ==> length",
    ]
    names = [name for name, _ in prose.texts()]
    assert {"README.md", "onegpu/memory/planner.py", "notebooks/00_tldr.ipynb, cell 0"} <= set(
        names
    )


def test_another_name_than_the_glossarys_is_found_where_it_stands():
    terms = prose.names(
        "trl\n: Trainers. Elsewhere: *TRL*. [C](c.md)\n\nloss\n: Of *it*. [C](c.md)\n"
    )
    assert terms == {"TRL": "trl"}
    apart = "[TRL](https://x) `TRL` *TRL* CTRL\n```\nTRL\n```\n**TRL** ends"
    assert prose.otherwise_named([("a.md", apart), ("b.py", "TRL")], terms) == [
        "a.md:5: TRL ==> trl"
    ]
    ours = prose.names((ROOT / prose.GLOSSARY).read_text("utf-8"))
    assert {"TRL": "trl", "bfloat16": "BF16"}.items() <= ours.items()
    assert not ours.keys() & set(ours.values())


def test_every_notebook_is_executed():
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert len(check.NOTEBOOKS) == len(there)
    assert set(check.NOTEBOOKS) == there


def trains(path):
    """Return whether code of a notebook trains, itself or through a helper."""
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(code_of(cell) for cell in cells if cell.cell_type == "code")
    used = {node.attr for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)}
    return bool(used & {"train", "yoda_adapter"})


def test_fast_leaves_out_what_trains():
    assert check.CHECKS.keys() - check.FAST_CHECKS.keys() == {"site in a browser"}
    named = [word for word in check.FAST_CHECKS["notebooks"] if word.endswith(".ipynb")]
    assert named
    assert not any(trains(ROOT / name) for name in named)
    assert trains(ROOT / "notebooks/00_tldr.ipynb") and trains(ROOT / "notebooks/03_lora.ipynb")
    assert check.FAST_CHECKS["unit tests"][-2:] == ["-m", "not slow"]
