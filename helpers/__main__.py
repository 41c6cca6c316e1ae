"""The command line of the companion library: `python -m helpers doctor` and `... fetch`."""

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: As typed; without them, those of this process.

    Returns:
        0 if all is well, 1 if something is missing or went wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m helpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="show what this machine can do and what is missing on it")
    commands.add_parser("fetch", help="fetch the embedded model and check it")
    command = parser.parse_args(arguments).command
    return {"doctor": _doctor, "fetch": _fetch}[command]()


def _doctor() -> int:
    from helpers import doctor

    rows = doctor.examine()
    width = max(len(row.name) for row in rows)
    for row in rows:
        mark = "ok     " if row.ok else "MISSING"
        print(f"{mark} {row.name:{width}}  {row.found}")
        if row.mend:
            print(f"{'':8}{'':{width}}  mend: {row.mend}")
    return 0 if all(row.ok for row in rows) else 1


def _fetch() -> int:
    from helpers import models

    try:
        print(models.embedded_folder())
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
