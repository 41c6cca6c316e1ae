"""What several commands take."""

import argparse

__all__ = ["at_least_one"]


def at_least_one(text: str) -> int:
    """Read a number of tokens, rows or prompts.

    Args:
        text: As typed.

    Returns:
        The number.

    Raises:
        argparse.ArgumentTypeError: It is no whole number, or below 1.

    Example:
        >>> at_least_one("48")
        48
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text!r}")
    return int(text)
