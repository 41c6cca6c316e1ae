"""The command line of the companion library: doctor, fetch, preflight, plan."""

from __future__ import annotations  # so that an old Python gets as far as being told so

import argparse
import dataclasses
import json
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: As typed; without them, those of this process.

    Returns:
        0 if all is well; 1 if something is missing, went wrong, would go wrong in training, or does
        not fit; 2 if the command could not do its work.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - a clone runs in whatever Python there is
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"The course needs Python 3.11 to 3.13. This is {found}.", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(prog="python -m helpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="show what this machine can do and what is missing on it")
    commands.add_parser("fetch", help="fetch the embedded model and check it")
    preflight = commands.add_parser("preflight", help="look for what is wrong with your data")
    preflight.add_argument("data", help="a .jsonl, .json or .csv file to train on")
    preflight.add_argument("--evaluation", help="a file to evaluate on")
    preflight.add_argument("--model", help="hub name or folder; this machine's base model if none")
    preflight.add_argument("--max-length", type=int, default=1024, help="as in SFTConfig (1024)")
    preflight.add_argument("--assistant-only", action="store_true", help="assistant_only_loss=True")
    preflight.add_argument("--json", action="store_true", help="print the findings as JSON")
    plan = commands.add_parser("plan", help="say whether a training step fits on a card")
    plan.add_argument("model", help="a known name, a folder with a config.json, or a hub name")
    plan.add_argument("--gpu", required=True, help="a card, such as t4 or a100-80, or its GiB")
    plan.add_argument("--seq", type=int, default=1024, help="tokens a row (1024)")
    plan.add_argument("--batch", type=int, default=1, help="rows a step (1)")
    plan.add_argument("--lora-rank", type=int, help="rank of the adapter; full fine-tuning if none")
    plan.add_argument("--targets", default="all-linear", help="comma-separated (all-linear)")
    plan.add_argument("--quantization", choices=["nf4", "nf4-double"])
    plan.add_argument(
        "--precision", choices=["bf16", "fp16", "fp32"], help="of weights (the card's)"
    )
    plan.add_argument("--optimizer", default="adamw_torch", help="as in optim= (adamw_torch)")
    plan.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    plan.add_argument("--no-checkpointing", action="store_true", help="keep all activations")
    plan.add_argument("--sweep", action="store_true", help="a table of batch by sequence")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    options = parser.parse_args(arguments)
    run = {"doctor": _doctor, "fetch": _fetch, "preflight": _preflight, "plan": _plan}
    return run[options.command](options)


def _doctor(options: argparse.Namespace) -> int:
    from onegpu import doctor

    rows = doctor.examine()
    width = max(len(row.name) for row in rows)
    for row in rows:
        mark = "ok     " if row.ok else "PROBLEM"
        print(f"{mark} {row.name:{width}}  {row.found}")
        if row.fix:
            print(f"{'':8}{'':{width}}  fix: {row.fix}")
    return 0 if all(row.ok for row in rows) else 1


def _fetch(options: argparse.Namespace) -> int:
    from onegpu import sources

    try:
        print(sources.embedded_folder())
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _preflight(options: argparse.Namespace) -> int:
    from helpers import environment, models
    from onegpu import preflight

    try:
        profile = environment.profile(base_model=options.model)
        found = preflight.check_data(
            options.data,
            models.load_tokenizer(profile),
            evaluation=options.evaluation,
            max_length=options.max_length,
            assistant_only=options.assistant_only,
        )
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps([dataclasses.asdict(f) for f in found], indent=1) if options.json else found)
    return int(any(finding.severity == "error" for finding in found))


def _plan(options: argparse.Namespace) -> int:
    from helpers import environment
    from onegpu import memory

    environment.quiet()
    targets = options.targets if options.targets == "all-linear" else options.targets.split(",")
    settings = {
        "gpu": options.gpu,
        "lora": {"r": options.lora_rank, "target_modules": targets} if options.lora_rank else None,
        "quantization": options.quantization,
        "optimizer": options.optimizer,
        "precision": options.precision,
        "attention": options.attention,
        "checkpointing": not options.no_checkpointing,
    }
    try:
        found = memory.plan(options.model, seq=options.seq, batch=options.batch, **settings)
        table = memory.sweep(found) if options.sweep else None
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found.to_dict() | ({"sweep": table} if table else {}), indent=1))
    else:
        print(found)
        if table:
            print(memory.as_text(table))
    return 0 if found.fits else 1


if __name__ == "__main__":
    sys.exit(main())
