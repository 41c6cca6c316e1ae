"""Graphics cards: what they have, and what CUDA itself takes of it."""

import dataclasses
import difflib
import re

from onegpu.machine import GIB, MIB

__all__ = ["CARDS", "Card", "card"]

WORKSPACE = 8_519_680  # cuBLAS below capability 9.0: 2 x 4,096 KiB and 8 x 16 KiB
WORKSPACE_HOPPER = 33_554_432  # cuBLAS from capability 9.0 on: 8 x 4,096 KiB
ASSUMED = 8.0  # the capability of a card of which only the memory is given
LARGEST_GIB = 1024  # more than any card has
# Parts of a name as drivers have it, and the size that follows it, which some names do not need.
WORDS = re.compile(r"nvidia|geforce|tesla|sxm\d?|pcie|hbm\d?e?|generation|ada(?=\b|$)")
SIZES = [re.compile(rf"\d{{{n}}}gi?b$") for n in (2, 3)]
NUMBER = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>gib|gb)?")
# https://github.com/pytorch/pytorch/pull/175253 and https://github.com/pytorch/pytorch/issues/190385
OLD = (
    "since {} only PyTorch's builds for CUDA 12.6 (cu126) have kernels for it, and 2.15 may have "
    "none"
)


@dataclasses.dataclass(frozen=True)
class Card:
    """One kind of graphics card.

    Attributes:
        name: As one says it.
        memory_gib: The total that torch sees of its memory, in GiB, as in
            `torch.cuda.get_device_properties(0).total_memory` and in messages of
            `OutOfMemoryError`. What a display and other programs take is not subtracted.
        capability: Compute capability.
        context_mib: What CUDA takes for itself before the first tensor, in MiB.
        is_measured: Whether the context was measured on such a card, or is a T4's.
        source: A link to where somebody's torch, or CUDA, reports the memory; empty where several
            public logs do, where we measured it, and for a card of your own.
        note: What to know before renting or buying one.
    """

    name: str
    memory_gib: float
    capability: float
    context_mib: float = 141.0
    is_measured: bool = False
    source: str = ""
    note: str = ""

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return int(self.memory_gib * GIB)

    @property
    def context_bytes(self) -> int:
        """What CUDA takes for itself, in bytes."""
        return int(self.context_mib * MIB)

    def is_like(self, other: "Card") -> bool:
        """Return whether a step allocates the same on another card.

        Args:
            other: The other card.

        Returns:
            Whether number types, kernels and workspaces are the same.
        """
        mine = self.has_bf16, self.sdpa_kernel, self.workspace_bytes
        return mine == (other.has_bf16, other.sdpa_kernel, other.workspace_bytes)

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bfloat16, from capability 8.0 on; a T4 only emulates it."""
        return self.capability >= 8

    @property
    def workspace_bytes(self) -> int:
        """What cuBLAS takes for each thread that multiplies matrices.

        Source:
            `parseChosenWorkspaceSize` of PyTorch,
            https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/cuda/CublasHandlePool.cpp
        """
        return WORKSPACE if self.capability < 9 else WORKSPACE_HOPPER

    @property
    def sdpa_kernel(self) -> str:
        """The kernel that SDPA takes on it: `efficient`, or `flash` from capability 8.0 on.

        Source:
            `check_flash_attention_hardware_support` of PyTorch,
            https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/transformers/cuda/sdp_utils.cpp
        """
        return "flash" if self.capability >= 8 else "efficient"


def _card(
    name: str, memory_gib: float, capability: float, report: str = "", *, note: str = ""
) -> Card:
    source = report and f"https://github.com/{report}"
    return Card(name, memory_gib, capability, source=source, note=note)


# The cards by name, as drivers on Linux show their memory, of which error correction takes some.
# Where reports differ it is the smallest of recent drivers; Windows shows a few percent more.
CARDS = {
    card.name: card
    for card in (
        Card("t4", 14.56, 7.5, 140.875, is_measured=True),
        _card("p100", 15.9, 6.0, "openai/jukebox/issues/145", note=OLD.format("2.8")),
        _card("v100-16", 15.77, 7.0, "meta-llama/llama/issues/918", note=OLD.format("2.11")),
        _card(
            "v100-32", 31.74, 7.0, "liucongg/ChatGLM-Finetuning/issues/73", note=OLD.format("2.11")
        ),
        _card("l4", 22.03, 8.9, "ArcInstitute/evo2/issues/190"),
        _card("l40s", 44.39, 8.9),
        _card("a10g", 22.0, 8.6, "batteries-included/batteries-included/pull/1663"),
        _card("a6000", 47.4, 8.6),
        _card("rtx2080ti", 10.76, 7.5, "JDAI-CV/image-captioning/issues/11"),
        _card("rtx3060", 11.63, 8.6),
        _card("rtx3090", 23.57, 8.6),
        _card("rtx4060ti-16", 15.55, 8.9, "boson-ai/higgs-audio/issues/48"),
        _card("rtx4070", 11.6, 8.9),
        _card("rtx4080", 15.7, 8.9, "ollama/ollama/issues/9245"),
        _card("rtx4090", 23.49, 8.9, "Sautenich/UAV-VLA/issues/7"),
        _card("rtx5080", 15.47, 12.0),
        _card("rtx5090", 31.36, 12.0, "TrajectoryCrafter/TrajectoryCrafter/issues/20"),
        _card("a100-40", 39.39, 8.0, "bottlerocket-os/bottlerocket/pull/3873"),
        _card("a100-80", 79.14, 8.0, "lianqi1008/Control-GIC/issues/6"),
        _card("h100", 79.11, 9.0, "vllm-project/vllm/issues/27508"),
        _card("h200", 139.8, 9.0),
        _card("b200", 178.35, 10.0, "pytorch/ao/pull/4002"),
    )
}


def card(name: str | float | Card) -> Card:
    """Return a card by its name, or any card by its memory.

    A shop's "24 GB" is neither 24e9 bytes nor quite 24 GiB: cards are sold in GiB, of which torch
    sees up to a tenth less. So give a card on the list by its name, and of another what torch
    shows.

    Args:
        name: A key of `CARDS`, such as `"RTX 4090"` (spaces and capitals do not matter); memory,
            as a number of GiB or with its unit, `"24gib"` or `"24gb"` (1e9 bytes each), which is
            then taken for a card of capability 8.0, and says so in its `note`; or a card, which
            is returned as it is.

    Returns:
        The card.

    Raises:
        ValueError: There is no such card.

    Example:
        >>> card("T4").memory_gib, card(24).memory_gib, round(card("24gb").memory_gib, 2)
        (14.56, 24.0, 22.35)
    """
    if isinstance(name, Card):
        return name
    text = re.sub(r"[\s_]", "", str(name).lower())
    key = WORDS.sub("", text).replace("-", "")
    by_key = {known.replace("-", ""): known for known in CARDS}
    shorter = [size.sub("", key) for size in SIZES]
    for wanted in (key, key.removesuffix("gb"), *shorter, f"rtx{key}", key.removeprefix("rtx")):
        if wanted in by_key:
            return CARDS[by_key[wanted]]
    found = NUMBER.fullmatch(text)
    memory_gib = float(found["number"]) if found else 0.0
    if not 0 < memory_gib <= LARGEST_GIB:
        sizes = [known for known in CARDS if known.startswith(f"{key}-")]
        close = sizes or [by_key[match] for match in difflib.get_close_matches(key, by_key)]
        meant = f"did you mean {' or '.join(close)}? Or " if close else ""
        raise ValueError(
            f"unknown card {name!r}: {meant}choose one of {', '.join(CARDS)}, or give the memory "
            "that torch sees, such as 24 or 24gib, or 24gb for 24e9 bytes"
        )
    if found["unit"] == "gb":
        memory_gib *= 1e9 / GIB
    return Card(
        f"{memory_gib:.4g} GiB",
        memory_gib,
        ASSUMED,
        note=f"only its memory is known, so it is taken for a card of capability {ASSUMED}, which "
        "computes in bfloat16",
    )
