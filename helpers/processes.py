"""Programs that are run beside Python: to their end, and what it means when they die."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["how_it_ended", "run"]

MEANINGS = {
    "SIGILL": "an instruction that this processor does not have, so the program was compiled for "
    "another one. Run llama_cpp.install(): it tries the build, and compiles another if it crashes",
    "SIGKILL": "most often the system, because memory ran out. Close other programs, or take a "
    "smaller file or a shorter context",
    "SIGSEGV": "a bug in the program, or a damaged file. Look at the file with gguf.inspect, and "
    "convert it again",
    "SIGABRT": "the program stopped itself over what its last lines say",
    "SIGBUS": "the file was cut short while it was read, or its disk failed. Convert it again",
    "SIGTERM": "something asked it to end: a scheduler, a time limit, another program",
}


def run(command: Sequence[str | Path], complaint: str) -> str:
    """Run a command to its end and return all that it printed.

    Args:
        command: A program and its arguments.
        complaint: How the message begins where the command fails.

    Raises:
        RuntimeError: It failed. The message says how it ended, and what it printed last.
    """
    ended = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        last = "\n".join(ended.stdout.strip().splitlines()[-5:])
        raise RuntimeError(f"{complaint}: it {how_it_ended(ended.returncode)}\n{last}")
    return ended.stdout


def how_it_ended(code: int) -> str:
    """Say in words how a program ended.

    Args:
        code: What it returned: negative, or 128 and the signal's number, where a signal ended it.

    Returns:
        The code, or the signal with what it usually means and what to do.

    Example:
        >>> how_it_ended(1)
        'ended with code 1'
        >>> how_it_ended(132)[:30]
        'was killed by SIGILL: an instr'
    """
    try:
        name = signal.Signals(-code if code < 0 else code - 128).name
    except ValueError:
        return f"ended with code {code}"
    return f"was killed by {name}" + (f": {MEANINGS[name]}" if name in MEANINGS else "")
