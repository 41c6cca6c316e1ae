"""The commands of `onegpu`: what they take, what they print, and how they end.

Each is a module with `HELP`, `EXAMPLE`, `add_arguments` and `run`.
"""

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Callable

from onegpu.command_line import (
    doctor,
    evaluate,
    fetch,
    inspect,
    make_data,
    parity,
    plan,
    plan_serving,
    preflight,
)
from onegpu.doctor import Check
from onegpu.downloads import PROJECT

__all__ = ["COMMANDS", "parser", "run"]

COMMANDS = {
    "plan": plan,
    "plan-serving": plan_serving,
    "make-data": make_data,
    "preflight": preflight,
    "eval": evaluate,
    "parity": parity,
    "inspect": inspect,
    "doctor": doctor,
    "fetch": fetch,
}
DESCRIPTION = "Will it fit, will it learn, is it the same model? Tools for fine-tuning on one GPU."
CODES = """\
how a command ends:
  0  all is well
  1  it does not fit, something is wrong or missing, it is not the same model
  2  the command could not do its work, or could not say
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    found = argparse.ArgumentParser(
        prog="onegpu",
        description=DESCRIPTION,
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--version", action="version", version=_version())
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=module.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    return found


def _version() -> str:
    try:
        return f"onegpu {importlib.metadata.version(PROJECT)}"
    except importlib.metadata.PackageNotFoundError:
        return "onegpu, from a folder that is not installed"


def run(
    arguments: list[str] | None = None, *, examine: Callable[[], list[Check]] | None = None
) -> int:
    """Run one command. What it cannot do, it says in a line on stderr, never with a traceback.

    Args:
        arguments: As typed; without them, those of this process.
        examine: What `doctor` shows the rows of, in place of `onegpu.doctor.examine`.

    Returns:
        See `CODES`. As shells have it, 130 after Ctrl-C, and 141 where nobody reads the output on.
    """
    options = parser().parse_args(arguments)
    options.examine = examine
    try:
        code = COMMANDS[options.command].run(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python complains at its end
        return 141
    except ImportError as error:
        print(f"{error}: `onegpu doctor` says what installs it", file=sys.stderr)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
    except Exception as error:  # of a library, about a file or a server that is not what it seems
        last = str(error).strip().splitlines()[-1:] or ["no reason given"]
        print(f"{options.command} ended in a {type(error).__name__}: {last[0]}", file=sys.stderr)
    return 2
