"""The command `plan`."""

import argparse
import json

from onegpu import memory, messages
from onegpu.command_line.arguments import at_least_one

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]

HELP = "say whether a training step fits on a card, before you have one"
KNOWN = "\n".join(f"  {name}" for name in memory.ARCHITECTURES)
EXAMPLE = f"""\
example: LoRA on a model in 4 bits, on a free card of Colab
  onegpu plan SmolLM2-1.7B --gpu t4 --seq 1024 --batch 4 --lora-rank 16 --quantization nf4-double

models known without a network, with or without -Instruct:
{KNOWN}

The exit code is 1 if it does not fit.
"""
CHOSEN = {
    "quantization": "how the base model is quantized (not at all)",
    "precision": "number type of weights that are neither quantized nor trained (bf16, or fp16 "
    "where the card computes no bf16); trained ones are fp32",
    "optimizer": "as in optim= (%(default)s)",
    "attention": "as in attn_implementation= (%(default)s)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the card, and what a training step is."""
    parser.add_argument(
        "model", metavar="MODEL", help="a known name, a folder with a config.json, or a hub name"
    )
    parser.add_argument(
        "--gpu",
        required=True,
        help=f"{', '.join(memory.CARDS)}, or the GiB of any card, such as 24",
    )
    parser.add_argument("--seq", type=at_least_one, default=1024, help="tokens a row (%(default)s)")
    parser.add_argument("--batch", type=at_least_one, default=1, help="rows a step (%(default)s)")
    parser.add_argument(
        "--lora-rank",
        type=at_least_one,
        metavar="RANK",
        help="rank of the adapter; without it, all weights are trained",
    )
    parser.add_argument("--targets", help="layers of the adapter, by commas (all-linear)")
    for name, meaning in CHOSEN.items():
        default = getattr(memory.TrainingStep, name)
        parser.add_argument(
            f"--{name}", choices=memory.CHOICES[name], default=default, help=meaning
        )
    parser.add_argument("--no-checkpointing", action="store_true", help="keep all activations")
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="add a table of 1 to 8 rows by 512 to 2,048 tokens: a minute or two",
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the plan, and return 1 if it does not fit."""
    messages.hide_known()
    found = memory.plan(
        options.model,
        gpu=options.gpu,
        seq=options.seq,
        batch=options.batch,
        lora=_lora(options),
        checkpointing=not options.no_checkpointing,
        **{name: getattr(options, name) for name in CHOSEN},
    )
    shown, text = found.to_dict(), str(found)
    if options.sweep:
        shown["sweep"] = memory.sweep(found)
        text += f"\n{memory.as_text(shown['sweep'])}"
    print(json.dumps(shown, indent=1) if options.json else text)
    return 0 if found.fits else 1


def _lora(options: argparse.Namespace) -> dict[str, object] | None:
    """Return the adapter's settings; none for full fine-tuning."""
    if options.lora_rank is None:
        if options.quantization:
            raise ValueError(
                "--quantization needs an adapter, since quantized weights cannot be trained: give "
                "--lora-rank too"
            )
        if options.targets:
            raise ValueError("--targets names layers of an adapter: give --lora-rank too")
        return None
    targets = "all-linear"
    if options.targets not in (None, targets):
        targets = options.targets.split(",")
    return {"r": options.lora_rank, "target_modules": targets}
