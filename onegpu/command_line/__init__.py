"""The commands of `onegpu`: what they take, what they print, and how they end.

Each is a module with `HELP`, `EXAMPLE`, `add_arguments` and `run`.
"""

import argparse
import sys
from collections.abc import Callable

from onegpu.command_line import doctor, fetch, inspect, parity, plan, preflight
from onegpu.doctor import Check

__all__ = ["COMMANDS", "parser", "run"]

COMMANDS = {
    "plan": plan,
    "preflight": preflight,
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


def run(
    arguments: list[str] | None = None, *, examine: Callable[[], list[Check]] | None = None
) -> int:
    """Run one command. What it cannot do, it says in a line on stderr.

    Args:
        arguments: As typed; without them, those of this process.
        examine: What `doctor` shows the rows of, in place of `onegpu.doctor.examine`.

    Returns:
        See `CODES`.
    """
    options = parser().parse_args(arguments)
    options.examine = examine
    try:
        return COMMANDS[options.command].run(options)
    except ImportError as error:
        print(f"{error}: `onegpu doctor` says what installs it", file=sys.stderr)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
    return 2
