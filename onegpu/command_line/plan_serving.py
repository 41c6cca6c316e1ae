"""The command `plan-serving`."""

import argparse
import json
from typing import Any

from onegpu import memory, messages, progress
from onegpu.command_line.arguments import at_least_one
from onegpu.machine import GIB

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]

HELP = "say which model a card can serve, and for how many requests"
EXAMPLE = """\
example: four conversations with a model in 4 bits, on a free card of Colab
  onegpu plan-serving Qwen3-8B --gpu t4 --context 8192 --requests 4 --weights q4_k_m

example: which of the known models fit on that card?
  onegpu plan-serving --gpu t4 --context 8192

The exit code is 1 if it does not fit, or none does.
"""
CHOSEN = {
    "weights": "format of the weights (%(default)s)",
    "kv_cache": "format of keys and values (16 bits)",
    "engine": "what serves it (the first of these that has the format of the weights)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the card, and how the model is served."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="as in `onegpu plan`; without it, all known models are tried",
    )
    parser.add_argument(
        "--gpu",
        required=True,
        help=f"{', '.join(memory.CARDS)}, or the GiB of any card, such as 24",
    )
    parser.add_argument(
        "--context", type=at_least_one, default=4096, help="tokens of a request (%(default)s)"
    )
    parser.add_argument(
        "--requests", type=at_least_one, default=1, help="answered at once (%(default)s)"
    )
    for name, meaning in CHOSEN.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=str.lower,  # GGUF files write Q4_K_M
            choices=_choices(name),
            default=getattr(memory.Serving, name),
            help=meaning,
        )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def _choices(name: str) -> list[str]:
    if name == "engine":
        return list(memory.ENGINES)
    return list(dict.fromkeys(kind for kinds in memory.ENGINES.values() for kind in kinds[name]))


def run(options: argparse.Namespace) -> int:
    """Print the plan, or a table of models, and return 1 if it does not fit, or none does."""
    messages.hide_known()
    settings = {name: getattr(options, name) for name in ("context", "requests", *CHOSEN)}
    if options.model is None:
        return _run_all(options, settings)
    found = memory.plan_serving(options.model, gpu=options.gpu, **settings)
    shown = {
        **found.to_dict(),
        "longest_context": found.longest_context(),
        "most_requests": found.most_requests(),
    }
    text = str(found)
    if found.fits:
        text += (
            f"\nat most {shown['longest_context']:,} tokens a request, or "
            f"{shown['most_requests']:,} requests of {options.context:,} tokens"
        )
    print(json.dumps(shown, indent=1) if options.json else text)
    return 0 if found.fits else 1


def _run_all(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    rows, unknown = [], {}
    for name in progress.bar(list(memory.ARCHITECTURES), what="planning", unit="model"):
        try:
            found = memory.plan_serving(name, gpu=options.gpu, **settings)
        except ValueError as error:
            unknown[name] = str(error)
            continue
        if found.fits:
            rows.append((found.parts.weights_bytes, name, found.longest_context(), found))
    if not rows and len(unknown) == len(memory.ARCHITECTURES):
        raise ValueError(next(iter(unknown.values())))
    rows.sort(key=lambda row: row[0], reverse=True)
    if options.json:
        shown = [{**found.to_dict(), "longest_context": n} for _, _, n, found in rows]
        print(json.dumps({"models": shown, "not_planned": unknown}, indent=1))
    else:
        print("\n".join(_lines(rows, unknown, options)))
    return 0 if rows else 1


def _lines(rows: list[tuple], unknown: dict[str, str], options: argparse.Namespace) -> list[str]:
    weights = rows[0][3].serving.weights if rows else options.weights
    lines = [
        f"known models that fit on {options.gpu}, requests: {options.requests}, each of "
        f"{options.context:,} tokens, weights {weights}; the largest first",
        f"{'model':44} {'weights':>9} {'KV cache':>9} {'left':>9} {'longest context':>16}",
    ]
    for weights, name, longest, found in rows:
        sizes = (weights, found.parts.kv_cache_bytes, found.margin_bytes)
        shown = " ".join(f"{n_bytes / GIB:5.2f} GiB" for n_bytes in sizes)
        lines.append(f"{name:44} {shown} {longest:>16,}")
    for name, reason in unknown.items():
        lines.append(f"not planned: {name}: {reason}")
    return lines
