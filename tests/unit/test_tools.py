"""The address in one place, the requirements on Colab, and the chapter against the helpers."""

import re
import shutil
from pathlib import Path

import links
import nbformat
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
# The Colab runtime of August 2026.
COLAB = {
    "accelerate": "1.14.0",
    "matplotlib": "3.10.0",
    "numpy": "2.1.3",
    "pandas": "2.2.3",
    "peft": "0.20.0",
    "torch": "2.11.0+cu128",
}


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", COLAB)
def test_colab_keeps_its(name):
    """A course that reinstalled Colab's torch or numpy left readers with a broken session."""
    (requirement,) = [r for r in requirements() if r.name == name]
    assert requirement.specifier.contains(COLAB[name])
    assert all(bound.operator == ">=" for bound in requirement.specifier)


def test_the_tested_versions_satisfy_the_requirements():
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    for requirement in requirements():
        assert requirement.specifier.contains(pins[requirement.name]), requirement
        assert "+" not in pins[requirement.name], "a local version exists on one index only"


def test_links_are_rewritten_everywhere(tmp_path):
    (tmp_path / "notebooks").mkdir()  # without the checkpoints that JupyterLab leaves there
    names = ["pyproject.toml", "README.md"]
    names += [f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")]
    for name in names:
        shutil.copy(ROOT / name, tmp_path / name)
    changed = links.rewrite(tmp_path, "someone/fork")
    assert len(changed) == 2 + len(list((tmp_path / "notebooks").glob("*.ipynb")))
    assert links.repository(tmp_path) == "someone/fork"
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            assert not re.search(r"github(\.com)?/your_name", path.read_text("utf-8")), path
    assert links.rewrite(tmp_path, "someone/fork") == []
    with pytest.raises(ValueError, match="'fork' is not of the form owner/name"):
        links.rewrite(tmp_path, "fork")


def test_the_chapter_loads_the_model_as_the_helper_does():
    """Later chapters load by `models.load_base_model`; Chapter 0 writes the same call out."""
    notebook = nbformat.read(ROOT / "notebooks" / "00_tldr.ipynb", as_version=4)
    taught = "".join("".join(cell.source.split()) for cell in notebook.cells)
    helper = "".join((ROOT / "helpers" / "models.py").read_text("utf-8").split())
    for argument in (
        "load_in_4bit=True",
        'bnb_4bit_quant_type="nf4"',
        "bnb_4bit_use_double_quant=True",
        "bnb_4bit_compute_dtype=profile.dtype",
        "dtype=profile.dtype",
        'device_map={"":profile.device}',
        "attn_implementation=profile.attention",
    ):
        assert argument in taught
        assert argument in helper
