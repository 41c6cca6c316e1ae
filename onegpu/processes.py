"""Run other programs, and explain how they ended."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["how_it_ended", "run"]

MEANINGS = {
    "SIGILL": "it uses an instruction this processor lacks. Run llama_cpp.install() for one that "
    "works",
    "SIGKILL": "usually by the system, because memory ran out. Close other programs, or use a "
    "smaller model or a shorter context",
    "SIGSEGV": "a bug in the program, or a damaged file. Check the file with gguf.inspect, and "
    "convert it again",
    "SIGABRT": "the program gave up; its last lines say why",
    "SIGBUS": "the file got shorter while it was being read, or the disk failed. Convert it again",
    "SIGTERM": "something asked it to stop: a scheduler, a time limit, another program",
}


def run(command: Sequence[str | Path], complaint: str) -> str:
    """Run a command to its end and return all that it printed.

    Args:
        command: A program and its arguments.
        complaint: How the message begins where the command fails.

    Returns:
        Its output and its errors together.

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
        code: What the program returned. After a signal that is minus the signal's number
            (Python), or 128 plus it (shells).

    Returns:
        The code, or the signal with what it usually means and what to do.

    Example:
        >>> how_it_ended(1)
        'ended with code 1'
        >>> how_it_ended(132)[:30]
        'was killed by SIGILL: it uses '
    """
    try:
        name = signal.Signals(-code if code < 0 else code - 128).name
    except ValueError:
        return f"ended with code {code}"
    return f"was killed by {name}" + (f": {MEANINGS[name]}" if name in MEANINGS else "")
