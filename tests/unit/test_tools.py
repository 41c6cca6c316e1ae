"""The requirements on Colab, and the chapter against the helpers."""

import ast
import dataclasses
from pathlib import Path

import nbformat
import pytest
import transformers
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from peft import LoraConfig
from trl import SFTConfig

from helpers import environment, models, recipe
from helpers.environment import PROFILES
from onegpu import quantization
from tools import card_table, versions

ROOT = Path(__file__).resolve().parents[2]
# The Colab runtime of August 2026.
COLAB = {
    "accelerate": "1.14.0",
    "matplotlib": "3.10.0",
    "numpy": "2.1.3",
    "pandas": "2.2.3",
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
    text = (ROOT / "constraints.txt").read_text("utf-8")
    pins = versions.pins(text)
    for requirement in requirements():
        pinned = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned), requirement
    assert "+" not in text, "a local version exists on one index only"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_chapter_loads_the_model_as_the_helper_does(monkeypatch, profile):
    """Later chapters load by `models.load_base_model`; Chapter 0 writes the same call out.

    The test looked for seven arguments in the text of both, and saw neither an eighth nor whether
    the model is kept trainable.
    """
    made = []

    def load(name, **settings):
        settings["quantization_config"] = settings["quantization_config"].to_dict()
        made.append(Loaded({"from": name, **settings}))
        return made[-1]

    class Loaded(dict):
        config = transformers.LlamaConfig()  # what `keep_rope_theta` changes is only saved

    monkeypatch.setattr(models, "source", lambda profile: profile.base_model)
    for module in (models, quantization):  # each holds the name
        monkeypatch.setattr(module, "keep_trainable", lambda model: model.update(trainable=True))
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
    notebook = nbformat.read(ROOT / "notebooks" / "00_tldr.ipynb", as_version=4)
    calls = "AutoModelForCausalLM.from_pretrained("
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and calls in c.source]
    used = ("AutoModelForCausalLM", "BitsAndBytesConfig")
    names = {name: getattr(transformers, name) for name in used}
    names |= {"models": models, "profile": profile, "quantization": quantization}
    exec(cell.source, names)
    assert models.load_base_model(profile) == names["fresh"]
    assert len(made) == 2
    assert names["fresh"]["quantization_config"]["load_in_4bit"]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_chapter_trains_with_the_settings_of_the_recipe(profile):
    """Later chapters take the adapter of `recipe`; Chapter 0 writes its settings out."""
    on_cpu = dataclasses.replace(profile, device="cpu")
    notebook = nbformat.read(ROOT / "notebooks" / "00_tldr.ipynb", as_version=4)
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and "SFTTrainer(" in c.source]
    written = {
        node.func.id: node
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    names = {"SFTConfig": SFTConfig, "LoraConfig": LoraConfig}
    names |= {"environment": environment, "profile": on_cpu}
    settings = eval(ast.unparse(written["SFTConfig"]), names)
    lora = eval(ast.unparse(written["LoraConfig"]), names)
    expected = SFTConfig(output_dir=settings.output_dir, **recipe.sft_settings(on_cpu))
    assert settings.to_dict() == expected.to_dict()
    assert lora.to_dict() == LoraConfig(**recipe.lora_settings()).to_dict()


def test_the_faq_has_the_table_of_cards_that_chapter_5_printed():
    found = card_table.table()
    assert found in (ROOT / "FAQ.md").read_text("utf-8"), "run python -m tools.card_table"
    head, _, *rows = found.splitlines()
    assert {line.count("|") for line in found.splitlines()} == {5}
    assert head.startswith("| model | LoRA, 4 bits |")
    assert len(rows) == 5
