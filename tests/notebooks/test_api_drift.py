"""Every library call in notebooks, helpers and benchmarks fits the installed versions."""

import inspect
from pathlib import Path

import nbformat
import pytest
from api_drift import drift
from test_static import NOTEBOOKS, ROOT, code_of

from helpers import training
from helpers.environment import PROFILES

SOURCES = [p for folder in ("helpers", "benchmarks") for p in sorted((ROOT / folder).glob("*.py"))]


def python_of(path: Path) -> str:
    if path.suffix == ".py":
        return path.read_text("utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(code_of(cell) for cell in cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOURCES], ids=lambda path: path.name)
def test_calls_fit_the_installed_versions(path):
    assert drift(python_of(path)) == []


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_settings_fit_the_installed_versions(profile):
    """The settings reach trl and peft through `**`, where the check above cannot see them."""
    from peft import LoraConfig
    from trl import SFTConfig

    assert set(training.sft_settings(profile)) <= set(inspect.signature(SFTConfig).parameters)
    assert set(training.lora_settings()) <= set(inspect.signature(LoraConfig).parameters)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from trl import SFTTrainer\nSFTTrainer(tokenizer=None)", "takes no 'tokenizer'"),
        ("import trl\ntrl.SFTConfig(max_seq_length=512)", "takes no 'max_seq_length'"),
        ("from trl import setup_chat_format", "has no 'setup_chat_format'"),
        ("from peft import LoraConfig\nLoraConfig(rank=8)", "takes no 'rank'"),
        (
            "import transformers\n"
            "transformers.AutoModelForCausalLM.from_pretrained('x', load_in_4bit=True)",
            "takes no 'load_in_4bit'",
        ),
        ("import peft\npeft.LoraConfig(dropout=0.1)", "takes no 'dropout'"),
        ("from datasets import Dataset\nDataset.from_rows([])", "from_rows"),
    ],
)
def test_a_planted_dead_call_is_found(source, message):
    """What readers met: names and arguments that the libraries renamed or dropped."""
    assert any(message in line for line in drift(source)), drift(source)
