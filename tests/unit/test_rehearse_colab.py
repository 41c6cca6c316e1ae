"""The rehearsal of Colab, with notebooks made here: no environment, no kernel, no network."""

import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.requirements import Requirement

from helpers import records
from tools import rehearse_colab, versions
from tools.colab import environment, outcome

ROOT = Path(__file__).resolve().parents[2]


def cell(*outputs, source="x = 1", tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def error(name, message):
    return new_output("error", ename=name, evalue=message, traceback=[])


def shown(**data):
    return new_output("display_data", data={k.replace("_", "/", 1): v for k, v in data.items()})


def test_a_cell_that_failed_and_a_cell_that_shows_something_else():
    stored = new_notebook(
        cells=[
            new_markdown_cell("# Title"),
            cell(stream("1\n")),
            cell(shown(image_png="a", text_plain="<Figure>")),
            cell(source="load()\nprint(1)"),
        ]
    )
    executed = new_notebook(
        cells=[
            new_markdown_cell("# Title"),
            cell(stream("2\n")),  # outputs need not be equal
            cell(stream("\x1b[31mno backend\x1b[0m\n", "stderr")),
            cell(error("ImportError", "torchao 0.10"), source="load()\nprint(1)"),
        ]
    )
    found = outcome.compare(executed, stored)
    assert found["failed"] == [
        {"cell": 3, "starts": "load()", "message": "ImportError: torchao 0.10"}
    ]
    assert found["shown"] == [
        {
            "cell": 2,
            "starts": "x = 1",
            "new": ["stderr"],
            "gone": ["image/png", "text/plain"],
            "stderr": "no backend",
        }
    ]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([error("ValueError", "another message")], ""),
        ([error("ImportError", "no torchao")], "not ValueError, but ImportError: no torchao"),
        ([stream("fine")], "not ValueError, but no error"),
    ],
)
def test_the_error_that_a_cell_is_to_show_is_no_failure_and_another_is(outputs, message):
    """A tag that lets a cell raise would hide that a package is missing."""
    tags = ["raises-exception"]
    stored = cell(error("ValueError", "too long"), tags=tags)
    assert outcome.failure(cell(*outputs, tags=tags), stored) == message


def test_messages_are_short_and_name_no_folder_of_this_machine():
    text = outcome.short(f"\x1b[1m{Path.home()}/a.py\x1b[0m {'x' * 400}\n")
    assert text.startswith("~/a.py xxx")
    assert len(text) == outcome.LENGTH + 1
    assert outcome.short(" short\n") == "short"
    warning = f"{ROOT}/.venv-colab/lib/python3.13/site-packages/peft/utils.py:3: UserWarning"
    assert outcome.plain(warning) == "site-packages/peft/utils.py:3: UserWarning"
    with tempfile.TemporaryDirectory() as content:
        assert outcome.plain(f"no file {content}/runs/a") == "no file runs/a"


def test_versions_that_differ_before_and_after():
    before = "numpy==2.1.3\npyarrow==18.1.0\ntorchao==0.10.0\ntorch==2.11.0+cu128\n"
    after = "numpy==2.1.3\npyarrow==26.0.1\ntrl==1.16.0\ntorch==2.11.0\n"
    assert outcome.changed(before, after) == {
        "pyarrow": ["18.1.0", "26.0.1"],
        "torchao": ["0.10.0", "none"],
        "trl": ["none", "1.16.0"],
    }


INSTALLED = {
    "seconds": 47,
    "restarts": True,
    "failed": [],
    "shown": [],
    "printed": ["gradio asks for another version"],
    "changed": {"numpy": ["2.1.3", "2.4.6"]},
    "imported_before": ["numpy"],
}


def test_the_summary_names_what_failed():
    failed = [{"cell": 7, "starts": "a", "message": "ImportError: torchao"}]
    widget = "application/vnd.jupyter.widget-view+json"
    row = {"cell": 9, "starts": "b", "new": [widget], "gone": ["stdout"], "stderr": ""}
    notebooks = {
        "00_a.ipynb": {"seconds": 100, "restarts": False, "failed": [], "shown": [row]},
        "01_b.ipynb": {"seconds": 20, "restarts": False, "failed": failed, "shown": []},
    }
    assert outcome.summary({"install": INSTALLED, "notebooks": notebooks}).splitlines() == [
        "install cell: 47 s, 1 packages changed",
        "  numpy 2.1.3 -> 2.4.6",
        "  printed: gradio asks for another version",
        "  asked for a restart of the session",
        "  Colab asks for a restart, because of numpy",
        "00_a.ipynb                   ok                 100 s",
        f"  cell 9 shows +{widget} -stdout",
        "01_b.ipynb                   1 cells FAILED      20 s",
        "  cell 7 FAILED: ImportError: torchao",
    ]


def test_python_is_found_by_its_version_and_missing_with_advice(tmp_path, monkeypatch):
    """Where pyenv has put it, a `python3.13` on the PATH fails unless that version is chosen."""
    for folder, code in (("bin", "exit 127"), ("versions/3.13.2/bin", "echo 3.13.2")):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("python", "python3.13"):
            (tmp_path / folder / name).write_text(f"#!/bin/sh\n{code}\n", "utf-8")
            (tmp_path / folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert environment.find_python() == tmp_path / "versions/3.13.2/bin/python"
    with pytest.raises(ValueError, match=r"'\S+/bin/python' is none: install it .*--python"):
        environment.find_python(str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "bin"))
    with pytest.raises(ValueError, match="neither on the PATH nor among pyenv's: install it"):
        environment.find_python()


def test_the_session_has_the_environments_commands_and_chooses_its_profile(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNING_PROFILE", "pod")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    variables = environment.variables(tmp_path)
    assert variables["PATH"].startswith(f"{tmp_path / 'bin'}:")
    assert {"FINETUNING_PROFILE", "PYTHONPATH"} & variables.keys() == set()


def test_the_stub_asks_for_what_is_installed():
    """From its metadata pip names the packages of Colab that an install cell breaks."""
    listed = versions.pins(environment.VERSIONS.read_text("utf-8"))
    metadata = environment.STUB["google_colab-1.0.0.dist-info/METADATA"]
    required = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.+)", metadata, re.M)]
    assert {r.name: str(r.specifier) for r in required} == {
        r.name: f"=={listed[r.name]}" for r in required
    }
    assert {"torch", "torchao", "pyarrow", "ipython"} <= listed.keys()
    assert {"trl", "bitsandbytes"} & listed.keys() == set(), "Colab has none"
    for name, text in environment.STUB.items():
        if name.endswith(".py"):
            compile(text, name, "exec")


@pytest.fixture
def wheel(tmp_path):
    def make(**files) -> Path:
        path = tmp_path / "fine_tuning_on_one_gpu-0.1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return path

    return make


def test_a_notebook_is_run_again_when_it_or_the_library_changes(wheel):
    notebook = new_notebook(cells=[new_markdown_cell("text"), cell(source="x = 1")])
    files = {"onegpu/a.py": "1", "helpers/data/records/a.json": "1", "x.dist-info/RECORD": "1"}
    first = rehearse_colab.digest(notebook, wheel(**files))
    files |= {"helpers/data/records/a.json": "2", "x.dist-info/RECORD": "2"}
    notebook.cells[0].source = "other text"
    assert rehearse_colab.digest(notebook, wheel(**files)) == first
    assert rehearse_colab.digest(notebook, wheel(**{**files, "onegpu/a.py": "2"})) != first
    notebook.cells[1].source = "x = 2"
    assert rehearse_colab.digest(notebook, wheel(**files)) != first


ASK = "pyarrow was upgraded: choose Runtime > Restart session, then run all cells"


def test_a_restart_that_the_install_cell_asks_for_is_made_once(wheel, monkeypatch):
    stored = new_notebook(cells=[cell(tags=["install"]), cell(stream("1"))])
    sessions = []

    def run_session(stored, content):
        assert [path.name for path in content.iterdir()] == [wheel().name]
        sessions.append(content)
        asks = [error("SystemExit", ASK)] if len(sessions) < 2 else []
        return new_notebook(cells=[cell(*asks, tags=["install"]), stored.cells[1]]), []

    monkeypatch.setattr(rehearse_colab, "run_session", run_session)
    _, row = rehearse_colab.rehearse(stored, wheel())
    assert len(sessions) == 2
    assert row == {"seconds": 0, "restarts": True, "failed": [], "shown": []}
    _, row = rehearse_colab.rehearse(stored, wheel())
    assert (len(sessions), row["restarts"]) == (3, False)


@pytest.fixture
def project(tmp_path, wheel, monkeypatch):
    """Two notebooks, with fakes for the environment, the wheel and the sessions."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "env").mkdir()
    for name in ("00_a.ipynb", "01_b.ipynb"):
        notebook = new_notebook(cells=[cell(source=name, tags=["install"])])
        nbformat.write(notebook, tmp_path / "notebooks" / name)
    monkeypatch.setattr(rehearse_colab, "ROOT", tmp_path)
    monkeypatch.setattr(rehearse_colab, "FOLDER", tmp_path / "env")
    monkeypatch.setattr(rehearse_colab, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(rehearse_colab, "build_wheel", lambda folder: wheel())
    monkeypatch.setattr(rehearse_colab, "prepare", lambda *arguments: INSTALLED)
    monkeypatch.setattr(rehearse_colab, "header", dict)
    return tmp_path


def test_a_rehearsal_goes_on_where_it_was_interrupted(project, monkeypatch, capsys):
    executed = []

    def rehearse(stored, wheel):
        executed.append(stored.cells[0].source)
        if len(executed) == 2:
            raise KeyboardInterrupt
        return stored, {"seconds": 1, "restarts": False, "failed": [], "shown": []}

    monkeypatch.setattr(rehearse_colab, "rehearse", rehearse)
    with pytest.raises(KeyboardInterrupt):
        rehearse_colab.main([])
    assert rehearse_colab.main([]) == 0
    assert executed == ["00_a.ipynb", "01_b.ipynb", "01_b.ipynb"]
    record = json.loads((project / "record.json").read_text("utf-8"))
    assert list(record["notebooks"]) == ["00_a.ipynb", "01_b.ipynb"]
    assert rehearse_colab.main([str(project / "notebooks" / "00_a.ipynb")]) == 0
    assert executed[3:] == ["00_a.ipynb"], "a notebook that is named is run again"
    assert "01_b.ipynb                   ok" in capsys.readouterr().out


def test_a_failed_cell_fails_the_rehearsal(project, monkeypatch, capsys):
    failed = [{"cell": 0, "starts": "", "message": "ImportError: torchao"}]
    row = {"seconds": 1, "restarts": False, "failed": failed, "shown": []}
    monkeypatch.setattr(rehearse_colab, "rehearse", lambda stored, wheel: (stored, row))
    assert rehearse_colab.main([]) == 1
    assert "cell 0 FAILED: ImportError: torchao" in capsys.readouterr().out


def test_without_python_nothing_is_run(project, monkeypatch, capsys):
    def prepare(*arguments):
        raise ValueError("Colab has Python 3.13")

    monkeypatch.setattr(rehearse_colab, "prepare", prepare)
    assert rehearse_colab.main([]) == 1
    assert capsys.readouterr().err == "Colab has Python 3.13\n"


def test_sessions_run_cells_after_a_failed_one(tmp_path, monkeypatch):
    """By a kernel of this Python, named as Colab's."""
    kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    folder = tmp_path / "kernels" / "colab"
    folder.mkdir(parents=True)
    spec = {"argv": kernel, "display_name": "Colab", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), "utf-8")
    monkeypatch.setattr(rehearse_colab, "FOLDER", tmp_path)
    sources = ["1 / 0", "import os; print(os.getcwd())", "os._exit(1)", "print(1)"]
    stored = new_notebook(
        cells=[cell(source="x = 1", tags=["install"]), *map(new_code_cell, sources)]
    )
    notebook, broken = rehearse_colab.run_session(stored, tmp_path)
    assert outcome.error_of(notebook.cells[1]) == "ZeroDivisionError: division by zero"
    assert notebook.cells[2].outputs[0].text == f"{tmp_path}\n"
    assert broken == [{"cell": 3, "message": "DeadKernelError: the cells below were not run"}]
    assert notebook.cells[4].outputs == []
    assert stored.cells[1].outputs == []


def test_the_record_tells_of_all_notebooks():
    record = records.read("colab_cpu")
    newer = {"07_evaluation.ipynb", "08_data.ipynb"}  # than the record, as the page says
    assert "all but Chapters 7 and 8" in (ROOT / "AppendixA.md").read_text("utf-8")
    there = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert sorted([*record["notebooks"], *newer]) == sorted(there)
    assert record["environment"]["python"].startswith(f"{environment.PYTHON}.")
    assert {"datasets", "pyarrow", "trl"} <= record["install"]["changed"].keys()
    text = json.dumps(record)
    assert "/root" not in text and "/home" not in text and "/tmp" not in text
