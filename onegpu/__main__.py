"""The command line of `onegpu`, which is the same as `python -m onegpu`.

This file and `onegpu/__init__.py` are read by Pythons that are too old for the rest, so that they
can be told so.
"""

from __future__ import annotations  # so that an old Python gets as far as being told so

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from onegpu.doctor import Check


def main(
    arguments: list[str] | None = None, *, examine: Callable[[], list[Check]] | None = None
) -> int:
    """Run one command.

    Args:
        arguments: As typed; without them, those of this process.
        examine: What `doctor` shows the rows of, in place of `onegpu.doctor.examine`.

    Returns:
        0 if all is well; 1 if something is missing, went wrong, would go wrong in training, does
        not fit, or is not the same; 2 if the command could not do its work.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - a clone runs in whatever Python there is
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"onegpu needs Python 3.11 to 3.13. This is {found}.", file=sys.stderr)
        return 1
    from onegpu import command_line

    return command_line.run(arguments, examine=examine)


if __name__ == "__main__":
    sys.exit(main())
