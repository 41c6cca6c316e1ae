"""The address in one place, and the install cell as Colab runs it."""

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement

from onegpu.preflight import findings
from tools import links

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "fine_tuning_on_one_gpu-{}-py3-none-any.whl"
DRIVE = Path("drive/MyDrive/fine-tuning-on-one-gpu")
FINDINGS = "onegpu/preflight/findings.py"


@pytest.fixture
def course(tmp_path):
    """A copy of the files that hold an address, not published yet."""
    (tmp_path / "notebooks").mkdir()  # without the checkpoints that JupyterLab leaves there
    (tmp_path / FINDINGS).parent.mkdir(parents=True)
    notebooks = [f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")]
    for name in ["pyproject.toml", "README.md", FINDINGS, *notebooks]:
        shutil.copy(ROOT / name, tmp_path / name)
    links.rewrite(tmp_path, links.PLACEHOLDER)
    return tmp_path


@pytest.fixture
def install(course, monkeypatch):
    """Runs the install cell in an empty folder of Colab, with `pip` recorded and not called."""
    folder = course / "content"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))

    def run() -> list[str]:
        calls = []
        namespace = {}

        def run_line_magic(name: str, line: str) -> None:
            calls.append(f"{name} {line.format(**namespace)}")  # as IPython fills in the braces

        shell = types.SimpleNamespace(run_line_magic=run_line_magic)
        namespace["get_ipython"] = lambda: shell
        cell = links.generated("install", "00_tldr.ipynb", course)
        exec(TransformerManager().transform_cell(cell), namespace)
        return calls

    return run


def make_wheel(folder: Path, version: str, *, modified: int) -> Path:
    """Write an empty file that is named as the course's wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / WHEEL.format(version)
    wheel.touch()
    os.utime(wheel, (modified, modified))
    return wheel


def test_links_are_rewritten_everywhere(course):
    changed = links.rewrite(course, "someone/fork")
    assert len(changed) == 3 + len(list((course / "notebooks").glob("*.ipynb")))
    assert links.repository(course) == "someone/fork"
    for path in changed:
        text = path.read_text("utf-8")
        if path.suffix == ".ipynb":  # what a notebook printed stays: it is not run again
            sources = [cell.source for cell in nbformat.reads(text, as_version=4).cells]
            text = "\n".join(sources)
        assert not re.search(r"github(\.com)?/your_name|your_name\.github\.io", text), path
    assert links.rewrite(course, "someone/fork") == []
    with pytest.raises(ValueError, match="'fork' is not of the form owner/name"):
        links.rewrite(course, "fork")


def test_findings_link_to_the_pages_of_the_repository(course):
    """They named a file of the clone, and an installed package has no such file."""
    links.rewrite(course, "SomeOne/my.fork")
    namespace = {}
    exec((course / FINDINGS).read_text("utf-8"), namespace)
    assert namespace["SECTIONS"].startswith("https://someone.github.io/my.fork/notebooks/")
    assert "https://someone.github.io/my.fork" in (course / "pyproject.toml").read_text("utf-8")
    readme = (course / "README.md").read_text("utf-8")
    assert f"read: {namespace['SECTIONS']}#empty-turn" in readme


def test_the_address_is_the_same_wherever_it_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert findings.COURSE == project["urls"]["Documentation"] == links.pages(links.repository())


def test_badges_and_install_cells_name_the_release_of_the_version(course):
    """They named `main`, so a notebook of one day met the library of another."""
    links.rewrite(course, "someone/fork")
    project = course / "pyproject.toml"
    old = f'version = "{links.version()}"'
    project.write_text(project.read_text("utf-8").replace(old, 'version = "9.8.7"'), "utf-8")
    assert len(links.rewrite(course, "someone/fork")) == 1 + len(os.listdir(course / "notebooks"))
    readme = (course / "README.md").read_text("utf-8")
    assert set(re.findall(r"fine_tuning_on_one_gpu-\S+?whl", readme)) == {WHEEL.format("9.8.7")}
    for path in (course / "notebooks").glob("*.ipynb"):
        address = f"/github/someone/fork/blob/v9.8.7/notebooks/{path.name})"
        assert address in readme
        cells = nbformat.read(path, as_version=4).cells
        badge, install = (
            next(cell.source for cell in cells if tag in cell.metadata.get("tags", []))
            for tag in ("badge", "install")
        )
        assert badge.endswith(address)
        assert "@ git+https://github.com/someone/fork@v9.8.7" in install


def test_only_generated_cells_change(course):
    path = course / "notebooks" / "00_tldr.ipynb"
    before = nbformat.read(path, as_version=4)
    links.rewrite(course, "someone/fork")
    after = nbformat.read(path, as_version=4)
    changed = [new for old, new in zip(before.cells, after.cells, strict=True) if old != new]
    assert [cell.metadata.tags for cell in changed] == [["badge"], ["install"]]
    assert before.metadata == after.metadata


def test_a_published_course_is_installed_from_its_release(course, install):
    links.rewrite(course, "someone/fork")
    line, _ = install()
    course, hub = shlex.split(line.removeprefix("pip install --quiet "))
    assert hub == "huggingface_hub<2"
    requirement = Requirement(course)
    assert requirement.url == f"git+https://github.com/someone/fork@v{links.version()}"
    assert requirement.extras == {"course"}


def test_without_an_address_or_a_wheel_the_cell_says_what_to_do(install):
    with pytest.raises(SystemExit, match="^The course is not on GitHub yet, .+ Appendix A$"):
        install()


def commands(wheel):
    """Beside the wheel, what Colab's own packages need: its torchao is too old for PEFT."""
    return [
        f'pip install --quiet "{wheel}[course]" "huggingface_hub<2"',
        "pip uninstall -qq --yes torchao",
    ]


def test_a_wheel_beside_the_notebook_wins(course, install):
    links.rewrite(course, "someone/fork")
    make_wheel(DRIVE, "0.3.0", modified=300)
    make_wheel(Path(), "0.10.0", modified=200)
    make_wheel(Path(), "0.9.0", modified=100)
    Path("flash_attn-2.8.3-py3-none-any.whl").touch()
    assert install() == commands(WHEEL.format("0.10.0"))


def test_a_wheel_in_drive_comes_before_the_address(course, install):
    links.rewrite(course, "someone/fork")
    make_wheel(DRIVE, "0.9.0", modified=100)
    newest = make_wheel(DRIVE, "0.10.0", modified=200)
    assert install() == commands(newest)


def test_an_upgraded_pyarrow_asks_for_a_restart(install, monkeypatch):
    make_wheel(Path(), "0.1.0", modified=100)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"pyarrow": "99.0"}[name])
    with pytest.raises(SystemExit, match="pyarrow was upgraded: choose Runtime > Restart"):
        install()


def test_elsewhere_than_on_colab_nothing_happens(install, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    make_wheel(Path(), "0.1.0", modified=100)
    assert install() == []


def test_a_push_leaves_a_release_whose_badges_are_right(course, tmp_path_factory):
    """Runs the steps of `release.yml` twice, with stand-ins for pip and for GitHub's `gh`."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
    steps = [step["run"] for step in workflow["jobs"]["release"]["steps"] if "run" in step]
    script = "\n".join(steps).replace("${{ github.repository }}", "someone/fork")

    (course / "tools").mkdir()
    for name in ("__init__.py", "links.py"):
        shutil.copy(ROOT / "tools" / name, course / "tools")
    (course / ".gitignore").write_text("dist/\n", "utf-8")
    outside = tmp_path_factory.mktemp("outside")
    wheel = WHEEL.format(links.version())
    stand_ins = {
        "pip": f"test $1 = install || (mkdir -p dist && touch dist/{wheel})",
        "gh": f'echo "$@" >> {outside}/calls; test $2 = create || test -e {outside}/released',
        "python": f'exec {sys.executable} "$@"',
    }
    for name, code in stand_ins.items():
        (outside / name).write_text(f"#!/bin/sh\n{code}\n", "utf-8")
        (outside / name).chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        **{"GIT_CONFIG_GLOBAL": os.devnull, "PATH": f"{outside}:{os.environ['PATH']}"},
    }

    def bash(code: str) -> str:
        return subprocess.run(
            ["bash", "-e", "-c", code],
            cwd=course,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    bash(
        f"git init -q --bare -b main {outside}/remote && git init -q -b main && git add ."
        " && git -c user.name=a -c user.email=a@b.org commit -q -m first"
        f" && git remote add origin {outside}/remote && git push -q -u origin main"
    )
    bash(script)
    pushed = bash("git fetch -q && git log --format=%an origin/main").splitlines()
    assert pushed == ["github-actions[bot]", "a"]
    assert links.repository(course) == "someone/fork"
    assert "https://someone.github.io/fork" in (course / FINDINGS).read_text("utf-8")
    assert bash("git status --porcelain") == ""
    tag, head = f"v{links.version()}", bash("git rev-parse origin/main").strip()
    create = f"release create {tag} dist/{wheel} --target {head} --title {tag} --generate-notes"
    calls = (outside / "calls").read_text("utf-8").splitlines()
    assert calls == [f"release view {tag}", create]

    (outside / "released").touch()
    bash(script)
    assert bash("git fetch -q && git rev-parse origin/main").strip() == head
    calls = (outside / "calls").read_text("utf-8").splitlines()
    assert calls == [f"release view {tag}", create, f"release view {tag}"]
