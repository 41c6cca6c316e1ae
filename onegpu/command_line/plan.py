"""The command `plan`."""

import argparse
import json
import textwrap
from typing import Any

from onegpu import memory, messages
from onegpu.command_line.arguments import at_least_one
from onegpu.machine import GIB

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]

HELP = "say whether a training step fits on a card, before you have one"
KNOWN = textwrap.fill(
    ", ".join(name.rpartition("/")[2] for name in memory.ARCHITECTURES),
    width=78,
    initial_indent="  ",
    subsequent_indent="  ",
    break_on_hyphens=False,
)
EXAMPLE = f"""\
example: LoRA on a model in 4 bits, on a free card of Colab
  onegpu plan SmolLM2-1.7B --gpu t4 --seq 1024 --batch 4 --lora-rank 16 --quantization nf4-double

models known without a network, with or without -Instruct:
{KNOWN}

The exit code is 1 if it does not fit.
"""
CHOSEN = {
    "trainer": "trl's, or a loop of your own (%(default)s)",
    "loss": "chunked is trl's, plain that of transformers and of older versions of trl (the "
    "trainer's own)",
    "quantization": "how the base model is quantized (not at all)",
    "precision": "number type in which weights are loaded (fp32 if all are trained; else bf16, or "
    "fp16 where the card computes no bf16)",
    "optimizer": "as in optim= (adamw_torch_fused, as in transformers)",
    "attention": "as in attn_implementation= (%(default)s)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the card, what a training step is, and what else to answer."""
    parser.add_argument(
        "model", metavar="MODEL", help="a known name, a folder with a config.json, or a hub name"
    )
    parser.add_argument(
        "--gpu",
        required=True,
        help=f"{', '.join(memory.CARDS)}, or the memory of any card that torch sees, such as 24gib",
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
        choices = [choice for choice in memory.CHOICES[name] if choice]
        default = getattr(memory.TrainingStep, name)
        parser.add_argument(f"--{name}", choices=choices, default=default, help=meaning)
    parser.add_argument("--no-checkpointing", action="store_true", help="keep all activations")
    parser.add_argument(
        "--no-autocast", action="store_true", help="as bf16=False and fp16=False of a trainer"
    )
    more = parser.add_argument_group("more answers")
    more.add_argument(
        "--explain", action="store_true", help="rank what each setting would save or cost"
    )
    more.add_argument("--fit", action="store_true", help="find settings that fit")
    more.add_argument(
        "--compare", action="store_true", help="say of each known card whether the step fits"
    )
    more.add_argument(
        "--sweep",
        action="store_true",
        help="add a table of 1 to 8 rows by 512 to 2,048 tokens: a minute or two",
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the plan and the other answers, and return 1 if it does not fit."""
    messages.hide_known()
    found = memory.plan(
        options.model,
        gpu=options.gpu,
        seq=options.seq,
        batch=options.batch,
        lora=_lora(options),
        checkpointing=not options.no_checkpointing,
        autocast=False if options.no_autocast else None,
        **{name: getattr(options, name) for name in CHOSEN},
    )
    shown, texts = found.to_dict(), [str(found)]
    for name, answer in ANSWERS.items():
        if getattr(options, name):
            shown[name], text = answer(found)
            texts.append(text)
    print(json.dumps(shown, indent=1) if options.json else "\n\n".join(texts))
    return 0 if found.fits else 1


def _explain(found: memory.Plan) -> tuple[Any, str]:
    switches = memory.explain(found)
    lines = [
        f"{-switch.saved_bytes / GIB:+7.2f} GiB, {switch.plan.verdict.partition(':')[0]:12}  "
        f"{switch.name}: {switch.price}"
        for switch in switches
    ]
    table = [
        {"name": s.name, "saved_bytes": s.saved_bytes, "price": s.price, "fits": s.plan.fits}
        for s in switches
    ]
    return table, "\n".join(["what one setting alone would change at the peak:", *lines])


def _fit(found: memory.Plan) -> tuple[Any, str]:
    fitting = memory.fit(found)
    shown = {
        "changed": list(fitting.changed),
        "accumulation": fitting.accumulation,
        "plan": fitting.plan.to_dict(),
    }
    if not fitting.changed:
        return shown, "it fits as it is"
    head = "to fit it" if fitting.plan.fits else "not even this fits"
    prices = [
        f"{name} ({memory.SWITCHES[name][1]})" if name in memory.SWITCHES else name
        for name in fitting.changed
    ]
    lines = [f"{head}: {'; '.join(prices)}"]
    if fitting.accumulation > 1:
        lines.append(
            f"(for as many rows a step: gradient_accumulation_steps={fitting.accumulation})"
        )
    return shown, "\n".join([*lines, str(fitting.plan)])


def _compare(found: memory.Plan) -> tuple[Any, str]:
    plans = memory.compare(found)
    lines = [
        f"{plan.card.name:12} {plan.process_bytes / GIB:7.2f} of {plan.card.memory_gib:6.2f} GiB  "
        f"{plan.verdict}{f' ({plan.card.note})' if plan.card.note else ''}"
        for plan in sorted(plans, key=lambda plan: plan.card.memory_gib)
    ]
    table = [
        {"card": p.card.name, "process_bytes": p.process_bytes, "verdict": p.verdict} for p in plans
    ]
    return table, "\n".join(lines)


def _sweep(found: memory.Plan) -> tuple[Any, str]:
    table = memory.sweep(found)
    return table, memory.as_text(table)


ANSWERS = {"explain": _explain, "fit": _fit, "compare": _compare, "sweep": _sweep}


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
