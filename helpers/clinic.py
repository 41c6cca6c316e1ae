"""A place to break things: a tiny model, trainers on a few rows, and ways to show a failure.

Taught in: notebooks/99_troubleshooting.ipynb
"""

import contextlib
import copy
import functools
import logging
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers import environment, models, recipe
from onegpu import quantization

if TYPE_CHECKING:
    import torch
    import trl
    from transformers import BatchEncoding, LlamaForCausalLM, PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from onegpu.preflight import Findings

__all__ = [
    "capitals",
    "caught_log",
    "continued",
    "dpo_trainer",
    "fails",
    "in_4_bits",
    "kto_trainer",
    "learned",
    "log_of",
    "of_family",
    "real_model",
    "said",
    "scratch",
    "sft_settings",
    "sft_trainer",
    "tell",
    "tiny",
    "tokenizer",
]

N_SHOWN = 150  # characters of an error's message, at most
SMALL = environment.PROFILES["cpu"]  # on every machine: what is broken here is small
QUIET = {"report_to": "none", "disable_tqdm": True}
ON_CPU = {"use_cpu": True, "bf16": False, "activation_checkpointing": False, **QUIET}
FEW = {"per_device_train_batch_size": 2, "max_steps": 20}


# Ways to show a failure --------------------------------------------------------------------------


def fails(call: Callable[[], Any]) -> None:
    """Run what should fail, and print the type and the beginning of its error.

    Args:
        call: Takes no arguments.

    Raises:
        AssertionError: It did not fail.

    Example:
        >>> fails(lambda: 1 / 0)
        ZeroDivisionError: division by zero
    """
    try:
        call()
    except Exception as error:
        message = str(error).split(" (/")[0]  # without this machine's path
        shown = textwrap.shorten(message, N_SHOWN, placeholder=" …")
        print(f"{type(error).__name__}: {shown}".strip())
    else:
        raise AssertionError("this should have failed")


def tell(found: "Findings") -> None:
    """Print the codes of what preflight found.

    Args:
        found: As `preflight.check` and `preflight.check_data` return it.

    Example:
        >>> from onegpu.preflight.findings import Findings
        >>> tell(Findings())
        preflight: nothing found
    """
    print("preflight:", ", ".join(found.codes) or "nothing found")


@contextlib.contextmanager
def caught_log() -> Iterator[list[str]]:
    """Catch what transformers logs meanwhile, instead of printing it.

    Yields:
        The messages so far.
    """
    from transformers.utils import logging as library

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    library.disable_default_handler()
    library.add_handler(handler)
    try:
        yield messages
    finally:
        library.remove_handler(handler)
        library.enable_default_handler()


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()  # removed when Python ends


def scratch() -> Path:
    """Return the folder for what the examples write, which is gone when Python ends."""
    return Path(_scratch().name)


# Data --------------------------------------------------------------------------------------------


def said(text: str) -> list[dict[str, str]]:
    """Return an answer, as the completion of a row.

    Args:
        text: What the assistant says.

    Returns:
        A list of one message.

    Example:
        >>> said("Hi!")
        [{'role': 'assistant', 'content': 'Hi!'}]
    """
    return [{"role": "assistant", "content": text}]


def capitals() -> list[dict[str, Any]]:
    """Return 50 healthy rows with a prompt and a completion: questions for capitals."""
    from helpers import texts

    questions, answers = texts.capitals()
    pairs = zip(questions, answers, strict=True)
    return [{"prompt": question, "completion": said(answer)} for question, answer in pairs]


def log_of(name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    """Return an agent's log: a question, a call, its result, an answer, and two tools.

    Args:
        name: The tool that is called; `heat` and `height` are declared.
        arguments: Of the call.

    Returns:
        `prompt`, `completion` and `tools`.

    Example:
        >>> log_of("heat", {"room": "attic"})["completion"][0]["content"]
        "It's 14."
    """
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {
        "prompt": [
            {"role": "user", "content": "How much is it?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": name, "content": "14"},
        ],
        "completion": said("It's 14."),
        "tools": [_tool("heat", "room"), _tool("height", "tree")],
    }


def _tool(name: str, of: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {of: {"type": "string"}}}
    function = {"name": name, "description": f"The {name} of a {of}", "parameters": parameters}
    return {"type": "function", "function": function}


# Models ------------------------------------------------------------------------------------------


@functools.cache
def _tokenizer() -> "Tokenizer":
    return models.load_tokenizer(SMALL)


def tokenizer() -> "Tokenizer":
    """Return a copy of the small model's tokenizer, to do with as you like."""
    return copy.deepcopy(_tokenizer())


def of_family(name: str) -> "Tokenizer":
    """Return the small model's tokenizer with the chat template of another family of models.

    Args:
        name: A file of trl's folder `chat_templates`, such as `qwen3`.

    Returns:
        A tokenizer that lacks the other family's special tokens.
    """
    import trl

    other = tokenizer()
    path = Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja"
    other.chat_template = path.read_text("utf-8")
    return other


def tiny() -> "LlamaForCausalLM":
    """Return a new two-layer Llama with random weights, the same ones each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    of = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(of),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        pad_token_id=of.pad_token_id,
        eos_token_id=of.eos_token_id,
        bos_token_id=of.bos_token_id,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config)


def in_4_bits() -> "PreTrainedModel":
    """Return the tiny model in NF4, on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = scratch() / "tiny-to-quantize"
    tiny().save_pretrained(folder)
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=nf4, device_map={"": "cpu"}
    )
    quantization.keep_trainable(model)  # Chapter 0 says why
    return model


def real_model(dtype: "torch.dtype") -> "PreTrainedModel":
    """Return the course's small model, which can talk, on the CPU.

    Args:
        dtype: The number type to load it in.

    Returns:
        SmolLM2-135M-Instruct, in evaluation mode.
    """
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(models.source(SMALL), dtype=dtype).eval()


@functools.cache
def _talking() -> "PreTrainedModel":
    import torch

    return real_model(torch.float32)


def continued(encoding: "BatchEncoding") -> list[str]:
    """Let the small model go on, greedily, for at most ten tokens.

    Args:
        encoding: Token ids and attention mask (batch, seq).

    Returns:
        What it adds to each row, up to the end of its turn.
    """
    out = _talking().generate(**encoding, max_new_tokens=10, do_sample=False)
    answers = _tokenizer().batch_decode(out[:, encoding["input_ids"].shape[1] :])
    return [answer.split("<|im_end|>")[0] for answer in answers]


# Trainers ----------------------------------------------------------------------------------------


def sft_settings(**changed: Any) -> "trl.SFTConfig":
    """Return the settings of the course's small machine, some of them changed.

    Args:
        **changed: As `trl.SFTConfig` takes them.

    Returns:
        Settings that train on the CPU and in the order of the rows.
    """
    from trl import SFTConfig

    usual = {**recipe.sft_settings(SMALL), "learning_rate": 1e-4, "shuffle_dataset": False}
    usual |= {"warmup_steps": 0, **FEW}
    return SFTConfig(**{"output_dir": str(scratch() / "runs"), **usual, **changed})


def sft_trainer(
    rows: Sequence[Mapping[str, Any]],
    *,
    model: "PreTrainedModel | None" = None,
    processing_class: "Tokenizer | None" = None,
    adapter: Mapping[str, Any] | None = None,
    collator: Callable[..., Any] | None = None,
    evaluation: Sequence[Mapping[str, Any]] | None = None,
    metrics: Callable[..., Any] | None = None,
    **changed: Any,
) -> "trl.SFTTrainer":
    """Return an SFT trainer of a few rows that prints nothing.

    Args:
        rows: The training data.
        model: What to train; the tiny model without it.
        processing_class: The tokenizer; the small model's without it.
        adapter: What to change in the course's settings of LoRA; no adapter without it.
        collator: Makes batches; trl's own without it.
        evaluation: Rows to evaluate on.
        metrics: The trainer's `compute_metrics`.
        **changed: As `trl.SFTConfig` takes them.

    Returns:
        A trainer that has not begun.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTTrainer

    config = None if adapter is None else LoraConfig(**{**recipe.lora_settings(), **adapter})
    trainer = SFTTrainer(
        model or tiny(),
        args=sft_settings(**changed),
        train_dataset=Dataset.from_list(list(rows)),
        eval_dataset=Dataset.from_list(list(evaluation)) if evaluation else None,
        processing_class=processing_class or tokenizer(),
        data_collator=collator,
        compute_metrics=metrics,
        peft_config=config,
    )
    return _silent(trainer)


def dpo_trainer(rows: Sequence[Mapping[str, Any]], **changed: Any) -> "trl.DPOTrainer":
    """Return a DPO trainer of a few rows, with an adapter on the tiny model.

    Args:
        rows: The training data.
        **changed: As `trl.DPOConfig` takes them.

    Returns:
        A trainer that has not begun.
    """
    import trl

    return _with_adapter(trl.DPOTrainer, trl.DPOConfig, rows, changed)


def kto_trainer(rows: Sequence[Mapping[str, Any]], **changed: Any) -> "trl.KTOTrainer":
    """Return a KTO trainer of a few rows, with an adapter on the tiny model.

    Args:
        rows: The training data.
        **changed: As `trl.KTOConfig` takes them.

    Returns:
        A trainer that has not begun.
    """
    import trl

    return _with_adapter(trl.KTOTrainer, trl.KTOConfig, rows, changed)


def _with_adapter(kind: Any, config: Any, rows: Any, changed: Mapping[str, Any]) -> Any:
    from datasets import Dataset
    from peft import LoraConfig

    trainer = kind(
        tiny(),
        args=config(output_dir=str(scratch() / "runs"), **{**ON_CPU, **FEW, **changed}),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer(),
        peft_config=LoraConfig(r=4),
    )
    return _silent(trainer)


def _silent(trainer: Any) -> Any:
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def learned(trainer: "trl.SFTTrainer") -> str:
    """Return the text of the first row that the loss learns.

    Args:
        trainer: Its rows hold labels.

    Returns:
        The tokens whose label isn't -100, decoded.
    """
    labels = trainer.train_dataset[0]["labels"]
    return _tokenizer().decode([label for label in labels if label != -100])
