"""The pages: what they show of commands is what the commands print, and their picture is drawn."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from traitlets.config import PyFileConfigLoader

from helpers import figures

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```console\n\$ (.+)\n((?:.*\n)*?)```", re.MULTILINE)
SHOWN = [
    pytest.param(
        *(command, output),
        id=f"{path.name}: {command[:40]}",
        marks=[pytest.mark.slow] if "--sweep" in command else [],
    )
    for path in sorted(ROOT.glob("*.md"))
    for command, output in BLOCK.findall(path.read_text("utf-8"))
]


@pytest.mark.parametrize(("command", "output"), SHOWN)
def test_a_command_prints_what_the_page_shows(command, output):
    words = shlex.split(command)
    assert words[0] == "onegpu", "only such commands may be shown with output"
    run = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stdout == output, run.stderr


def test_the_report_of_the_readme_has_the_figures_that_chapter_6_printed():
    (report,) = re.findall(r"^```text\n(.*?)\n```$", README.read_text("utf-8"), re.M | re.S)
    notebook = nbformat.read(ROOT / "notebooks" / "06_deployment.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    (same,) = re.findall(r"same greedy answer: +(\d+ of 40)", report)
    (distance,) = re.findall(r"mean KL divergence: +([\d.]+ nats)", report)
    assert f"merged, original base: {same} answers the same\n" in printed
    assert f"merged, original base: {distance}\n" in printed


def test_there_are_such_commands():
    assert SHOWN


def test_the_tunnel_is_drawn_with_what_the_server_is_told():
    words = " ".join(text.get_text() for text in figures.tunnel().texts)
    server = PyFileConfigLoader(str(ROOT / "deploy" / "jupyter_server_config.py")).load_config()
    port = server.ServerApp.port
    assert f"{server.ServerApp.ip}:{port}" in words
    assert f"localhost:{port}" in words
    assert f"-L {port}:localhost:{port} " in (ROOT / "AppendixA.md").read_text("utf-8")


def test_appendix_a_names_the_versions_whose_schemas_the_tests_hold():
    page = (ROOT / "AppendixA.md").read_text("utf-8")
    for path in (ROOT / "tests" / "schemas").glob("*.json"):
        tool, version = re.search(r'"\$comment":"(\S+) ([\d.]+) ', path.read_text("utf-8")).groups()
        assert f"{tool} {version}" in page
