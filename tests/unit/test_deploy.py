"""The files that start JupyterLab on a rented GPU: linted, and checked against what reads them.

hadolint reads the Dockerfile. SkyPilot and dstack would bring 140 packages between them, so here
their task files meet their JSON schemas (`tests/schemas`); the weekly workflow parses them with
the real ones.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TASKS = {"skypilot": DEPLOY / "skypilot.yaml", "dstack": DEPLOY / "course.dstack.yml"}
IMAGE = re.compile(r"pytorch/pytorch:(\S+?)-cuda(\S+?)-cudnn9-devel")


def hadolint(path: Path) -> str:
    """Return what hadolint finds wrong; empty if nothing."""
    binary = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([binary, str(path)], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return run.stdout


def task_problems(tool: str, task: dict) -> list[str]:
    """Return what the schema of SkyPilot or dstack finds wrong with a task, a line each."""
    schema = json.loads((ROOT / "tests" / "schemas" / f"{tool}.json").read_text("utf-8"))
    return [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(task)]


def test_the_dockerfile_is_well_kept():
    assert hadolint(DEPLOY / "Dockerfile") == ""


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("2.11.0-cuda12.8-cudnn9-devel", "latest", "DL3007"),  # an image that moves
        ("WORKDIR /course", "WORKDIR course", "DL3000"),
        ('CMD ["jupyter", "lab"', "CMD jupyter lab --all", "DL3025"),
        ("COPY . .", "COPPY . .", "unexpected 'C'"),
    ],
)
def test_hadolint_finds_planted_faults(tmp_path, old, new, rule):
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert old in text
    path = tmp_path / "Dockerfile"
    path.write_text(text.replace(old, new), "utf-8")
    assert rule in hadolint(path)


@pytest.mark.parametrize("tool", TASKS)
def test_a_task_file_fits_its_schema(tool):
    assert task_problems(tool, yaml.safe_load(TASKS[tool].read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("tool", "old", "new"),
    [
        ("skypilot", "workdir:", "work_dir:"),
        ("skypilot", "idle_minutes: 10", "idle_minutes: ten"),
        ("skypilot", "disk_size: 100", "disk: 100"),
        ("skypilot", 'PIP_BREAK_SYSTEM_PACKAGES: "1"', "PIP_BREAK_SYSTEM_PACKAGES: 1"),
        ("dstack", "type: task", "type: tusk"),
        ("dstack", "ports: [8888]", "ports: [88888]"),
        ("dstack", "compute_capability", "capability"),
        ("dstack", "  - local_path: ..", "  - local: .."),
    ],
)
def test_a_planted_fault_does_not_fit(tool, old, new):
    text = TASKS[tool].read_text("utf-8")
    assert old in text
    assert task_problems(tool, yaml.safe_load(text.replace(old, new)))


def test_all_three_take_the_same_image_and_one_that_the_course_runs_on():
    files = (*TASKS.values(), DEPLOY / "Dockerfile")
    images = {IMAGE.search(path.read_text("utf-8"))[0] for path in files}
    assert len(images) == 1
    torch, cuda = IMAGE.search(images.pop()).groups()
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    (requirement,) = [Requirement(line) for line in lines if line.startswith("torch")]
    assert requirement.specifier.contains(torch)
    assert cuda.startswith("12.")  # what the comments say of drivers


def test_every_command_names_what_exists():
    skypilot, dstack = (yaml.safe_load(path.read_text("utf-8")) for path in TASKS.values())
    assert [skypilot["setup"], skypilot["run"]] == dstack["commands"]
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    for command in dstack["commands"]:
        named = command.split()[-1]
        assert (ROOT / named).exists()
        assert named in dockerfile
    assert subprocess.run(["sh", "-n", DEPLOY / "install.sh"], check=False).returncode == 0


def test_the_server_listens_on_the_forwarded_port_only_and_ends_when_idle():
    """Autostop counts a server that never ends as work, and an open one is anyone's machine."""
    from jupyter_server.serverapp import ServerApp
    from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
    from jupyter_server_terminals.terminalmanager import TerminalManager
    from jupyterlab.labapp import LabApp
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader(str(DEPLOY / "jupyter_server_config.py")).load_config()
    classes = {c.__name__: c for c in (ServerApp, LabApp, MappingKernelManager, TerminalManager)}
    for name, settings in config.items():
        assert settings.keys() <= set(classes[name].class_trait_names(config=True)), name
    assert config.ServerApp.ip == "127.0.0.1"
    assert config.ServerApp.shutdown_no_activity_timeout > 0
    assert config.MappingKernelManager.cull_idle_timeout > 0
    assert not {"token", "password", "allow_origin"} & config.ServerApp.keys()
    assert [config.ServerApp.port] == yaml.safe_load(TASKS["dstack"].read_text("utf-8"))["ports"]
    for path in (TASKS["skypilot"], DEPLOY / "Dockerfile"):
        assert f"{config.ServerApp.port}:" in path.read_text("utf-8")
    assert (ROOT / config.LabApp.default_url.removeprefix("/lab/tree/")).exists()
