"""What is in the wheel, what it needs, and that the tools run without the course."""

import ast
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import helpers
import onegpu
from helpers import flashcards, texts, yoda
from onegpu import doctor, memory

ROOT = Path(__file__).resolve().parents[2]
PIP = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
PLAN = "plan SmolLM2-135M --gpu 24 --seq 128 --batch 1 --lora-rank 8 --quantization nf4"
ADAPTER = {"r": 8, "target_modules": "all-linear"}
MADE_OF_TORCH = [  # their classes extend torch's, and a plan imports them when it is made
    "onegpu.memory.inference.forward",
    *(
        f"onegpu.memory.tracing.{name}"
        for name in ("autocast", "building", "losses", "optimizers", "replicas", "shards")
    ),
    "onegpu.memory.tracing.steps",
    "onegpu.memory.tracing.tracer",
]


def modules(package) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [package.__name__, *(module.name for module in found)]


def requirements(lines: list[str]) -> dict[str, Requirement]:
    read = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: requirement for requirement in read}


def of_file(name: str) -> dict[str, Requirement]:
    return requirements((ROOT / name).read_text("utf-8").splitlines())


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """What a wheel is made from."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("helpers", "onegpu", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run([sys.executable, *PIP, *build], check=True)
    (found,) = folder.iterdir()
    return found


def test_the_wheel_holds_both_packages_with_their_data_and_nothing_else(source, wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for name in ("helpers", "onegpu") for path in (source / name).rglob("*")]
    assert held == {path.relative_to(source).as_posix() for path in files if path.is_file()}


def test_the_packages_read_their_data_where_they_are_installed(wheel, tmp_path):
    install = ["install", "--no-deps", "--target", tmp_path / "installed", wheel]
    subprocess.run([sys.executable, *PIP, *install], check=True)
    code = """if True:
        import json
        from helpers import flashcards, texts, yoda
        from onegpu import memory, serving
        found = [serving.__file__, len(yoda.rows("test")), len(texts.story())]
        print(json.dumps([*found, list(flashcards.decks()), list(memory.ARCHITECTURES)]))
    """
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,  # where no `helpers` lies
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    where, n_rows, n_letters, decks, architectures = json.loads(run.stdout)
    assert Path(where) == tmp_path / "installed" / "onegpu" / "serving.py"
    assert n_rows == len(yoda.rows("test"))
    assert n_letters == len(texts.story())
    assert decks == list(flashcards.decks())
    assert architectures == list(memory.ARCHITECTURES)


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_plans(wheel, tmp_path):
    """A reader's own `helpers.py` was imported in place of ours, and the command crashed."""
    venv.create(tmp_path / "empty", with_pip=True, symlinks=True)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "helpers.py").write_text("raise SystemExit('the helpers of another project')\n")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def run(*command) -> subprocess.CompletedProcess:
        return subprocess.run(
            [tmp_path / "empty" / "bin" / command[0], *command[1:]],
            cwd=folder,
            env=inherited | {"FINETUNING_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )

    install = ["install", "--no-compile", "--constraint", ROOT / "constraints.txt", wheel]
    installed = run("python", *PIP, *install)
    assert installed.returncode == 0, installed.stderr

    planned = run("onegpu", *PLAN.split())
    assert planned.returncode == 0, planned.stderr
    assert planned.stderr == ""
    expected = memory.plan(
        "SmolLM2-135M", gpu=24, seq=128, batch=1, lora=ADAPTER, quantization="nf4"
    )
    assert planned.stdout == f"{expected}\n"

    assert run("onegpu", "--help").stdout.startswith("usage: onegpu ")
    examined = run("onegpu", "doctor")
    assert examined.returncode == 0, examined.stdout
    assert "note    [deploy] " in examined.stdout

    lacking = run("onegpu", "inspect", "model.gguf")
    assert lacking.returncode == 2
    assert lacking.stderr == "No module named 'gguf': `onegpu doctor` says what installs it\n"


def imported(path: Path) -> set[str]:
    """Return the packages that a module imports, within functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found


def test_no_module_of_onegpu_imports_the_course():
    files = list((ROOT / "onegpu").rglob("*.py"))
    assert len(files) > 30
    assert [path for path in files if "helpers" in imported(path)] == []


def test_imports_within_functions_are_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("def f():\n    from helpers.yoda import rows\n    import torch.nn\n")
    assert imported(path) == {"helpers", "torch"}


def test_onegpu_is_imported_where_the_course_is_not():
    code = f"import sys; sys.modules['helpers'] = None; import {', '.join(modules(onegpu))}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_importing_is_light():
    """Importing a module of ours must not cost what torch costs.

    Nine modules were imported and timed, on a machine that may be busy; `memory` was not among
    them, and imported torch.
    """
    every = modules(onegpu) + modules(helpers)
    assert set(MADE_OF_TORCH) <= set(every)
    ours = [name for name in every if name not in MADE_OF_TORCH]
    code = f"import sys, {', '.join(ours)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert set(ours) <= loaded
    required = set(doctor.minimums(doctor.declared(ROOT), extra="course"))
    assert {"torch", "tqdm", "jinja2"} <= required
    # ipython's package has another name than ipython, and so have no others
    assert loaded & (required | {"IPython"}) == set()


def test_the_course_has_what_every_tool_needs_at_the_same_bounds():
    """A pod installs requirements.txt alone; and bounds that are written twice can differ."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    course = of_file("requirements.txt")
    for tool in (
        requirements(project["dependencies"]),
        of_file("requirements/making.txt"),
        of_file("requirements/preflight.txt"),
        of_file("requirements/deploy.txt"),
    ):
        assert tool
        assert {name: course.get(name) for name in tool} == tool


def test_an_extra_brings_its_file():
    lines = doctor.declared(ROOT)
    assert (
        doctor.minimums(lines, extra="deploy").keys() == of_file("requirements/deploy.txt").keys()
    )
    assert doctor.minimums(lines, extra="course").keys() == of_file("requirements.txt").keys()
    development = doctor.minimums(lines, extra="dev")
    assert {"torch", "pytest"} <= development.keys(), "tests run the course"
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    files = [
        name for e in setuptools["dynamic"]["optional-dependencies"].values() for name in e["file"]
    ]
    there = {f"requirements/{path.name}" for path in (ROOT / "requirements").iterdir()}
    assert set(files) == there | {"requirements.txt"}


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert onegpu.__version__ == project["version"]
    assert "__version__" in dir(onegpu)
    with pytest.raises(AttributeError, match="module 'onegpu' has no attribute 'version'"):
        onegpu.version  # noqa: B018
