"""Every library call in notebooks, helpers and benchmarks fits the installed versions."""

import inspect
from pathlib import Path

import nbformat
import pytest
from api_drift import drift
from test_static import NOTEBOOKS, ROOT, code_of

from helpers import recipe
from helpers.environment import PROFILES


def sources(root: Path) -> list[Path]:
    """Return the Python files of our library and benchmarks, those of subfolders too."""
    return [
        p
        for folder in ("onegpu", "helpers", "benchmarks")
        for p in sorted((root / folder).rglob("*.py"))
    ]


def python_of(path: Path) -> str:
    if path.suffix == ".py":
        return path.read_text("utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(code_of(cell) for cell in cells if cell.cell_type == "code")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*NOTEBOOKS, *sources(ROOT)], ids=name_of)
def test_calls_fit_the_installed_versions(path):
    assert drift(python_of(path)) == []


def test_a_file_in_any_subfolder_is_checked(tmp_path):
    """Only the top folders were listed, so 26 of 55 files went unchecked: memory, preflight."""
    planted = tmp_path / "helpers" / "deep" / "deeper" / "planted.py"
    planted.parent.mkdir(parents=True)
    planted.write_text("from trl import setup_chat_format\n", "utf-8")
    assert [problem for path in sources(tmp_path) for problem in drift(python_of(path))]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_settings_fit_the_installed_versions(profile):
    """The settings reach trl and peft through `**`, where the check above cannot see them."""
    from peft import LoraConfig
    from trl import SFTConfig

    assert set(recipe.sft_settings(profile)) <= set(inspect.signature(SFTConfig).parameters)
    assert set(recipe.lora_settings()) <= set(inspect.signature(LoraConfig).parameters)


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
        (
            "from transformers import AutoConfig\nAutoConfig.for_model('llama', n_layer=2)",
            "takes no 'n_layer'",
        ),
        ("from datasets import Dataset\nDataset.from_rows([])", "from_rows"),
    ],
)
def test_a_planted_dead_call_is_found(source, message):
    """What readers met: names and arguments that the libraries renamed or dropped."""
    assert any(message in line for line in drift(source)), drift(source)
