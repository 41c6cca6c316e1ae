"""What this machine can do."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["GIB", "MIB", "cpu_has_bfloat16", "memory_bytes"]

GIB, MIB = 1024**3, 1024**2  # bytes


def cpu_has_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 matrices in hardware.

    Returns:
        True or False; a processor that lists the instructions and is not granted them has none.

    Example:
        >>> cpu_has_bfloat16() in (True, False)
        True
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return False
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    listed = any(capabilities.get(name) for name in ("avx512_bf16", "bf16"))
    # Listed is not granted: the system or ONEDNN_MAX_CPU_ISA may hold oneDNN, which multiplies
    # matrices for torch, to less. It then emulates bfloat16, and float32 is several times faster.
    return listed and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def memory_bytes(device: "torch.device | None" = None) -> int:
    """Return how many bytes of memory there are in all.

    Args:
        device: A CUDA GPU; without it, or for a CPU, the machine itself.

    Returns:
        Bytes, in use or not.

    Raises:
        OSError: The system does not say (Windows).
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.get_device_properties(device).total_memory
    if not hasattr(os, "sysconf"):
        raise OSError("this system does not say how much memory it has")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
