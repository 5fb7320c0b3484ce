"""How much memory is left, and whether a set of images may have some of it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

#: Share of the free memory that a set may take; training needs the rest.
SHARE = 0.5
_GIB = 1 << 30


def free_memory(device: torch.device) -> int:
    """Bytes that could be allocated on the device now; for a CPU those of the host."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * _GIB


def room_for_images(device: torch.device, limit_gib: float | None = None) -> int:
    """Bytes that a set of images may take on the device.

    Args:
        device: The device.
        limit_gib: At most so many GiB; by default half of what is free.

    Example:
        >>> room_for_images(torch.device("cpu"), limit_gib=0.5)
        536870912
    """
    if limit_gib is not None:
        return int(limit_gib * _GIB)
    return int(SHARE * free_memory(device))


def in_words(num_bytes: int) -> str:
    """Returns a size that a person can read.

    Example:
        >>> in_words(184_320_000), in_words(1_234)
        ('176 MiB', '1.21 KiB')
    """
    for name, size in (("GiB", _GIB), ("MiB", 1 << 20)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {name}"
    return f"{num_bytes / 1024:.3g} KiB"
