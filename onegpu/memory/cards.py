"""Graphics cards: what they have, and what CUDA itself takes of it."""

import dataclasses
import math

__all__ = ["CARDS", "Card", "card"]

WORKSPACE = 8_519_680  # cuBLAS below capability 9.0: 2 x 4,096 KiB and 8 x 16 KiB
WORKSPACE_HOPPER = 33_554_432  # cuBLAS from capability 9.0 on: 8 x 4,096 KiB


@dataclasses.dataclass(frozen=True)
class Card:
    """One kind of graphics card.

    Attributes:
        name: As one says it.
        memory_gib: What torch sees of its memory, in GiB.
        capability: Compute capability.
        context_mib: What CUDA takes for itself before the first tensor, in MiB.
        is_measured: Whether the context was measured on such a card, or is a T4's.
    """

    name: str
    memory_gib: float
    capability: float
    context_mib: float = 141.0
    is_measured: bool = False

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bfloat16, from capability 8.0 on; a T4 only emulates it."""
        return self.capability >= 8

    @property
    def workspace_bytes(self) -> int:
        """What cuBLAS takes for each thread that multiplies matrices."""
        return WORKSPACE if self.capability < 9 else WORKSPACE_HOPPER

    @property
    def sdpa_kernel(self) -> str:
        """The kernel that SDPA takes on it: `efficient`, or `flash` from capability 8.0 on."""
        return "flash" if self.capability >= 8 else "efficient"


# The cards by name; the memory is what is left when driver and error correction have taken theirs.
CARDS = {
    card.name: card
    for card in (
        Card("t4", 14.56, 7.5, 140.875, is_measured=True),
        Card("l4", 22.0, 8.9),
        Card("a10g", 22.1, 8.6),
        Card("rtx3090", 23.6, 8.6),
        Card("rtx4090", 23.5, 8.9),
        Card("rtx5090", 31.3, 12.0),
        Card("a100-40", 39.4, 8.0),
        Card("a100-80", 79.2, 8.0),
        Card("h100", 79.1, 9.0),
        Card("h200", 139.8, 9.0),
    )
}


def card(name: str | float | Card) -> Card:
    """Return a card by its name, or any card by its memory.

    Args:
        name: A key of `CARDS`; a number of GiB, which is then taken for a card of capability 8.0;
            or a card, which is returned as it is.

    Returns:
        The card.

    Raises:
        ValueError: There is no such card.

    Example:
        >>> card("T4").memory_gib, card(24).memory_gib
        (14.56, 24.0)
    """
    if isinstance(name, Card):
        return name
    key = str(name).lower().replace(" ", "").replace("_", "-")
    if key in CARDS:
        return CARDS[key]
    try:
        memory_gib = float(key.removesuffix("gib"))
    except ValueError:
        memory_gib = math.nan
    if not 0 < memory_gib < math.inf:
        raise ValueError(
            f"unknown card {name!r}: choose one of {', '.join(CARDS)}, or give its GiB, such as 24"
        )
    return Card(f"{memory_gib:g} GiB", memory_gib, 8.0)
