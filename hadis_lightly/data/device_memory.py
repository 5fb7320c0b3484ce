"""How much memory is left, and whether a set of images may have some of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

#: Share of the free memory that a set may take; training needs the rest.
SHARE = 0.5
_GIB = 1 << 30
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = [
    (Path("/sys/fs/cgroup") / limit, Path("/sys/fs/cgroup") / used)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    )
]


def free_memory(device: torch.device) -> int:
    """Bytes that could be allocated on the device now; for a CPU those of the host."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    free = 4 * _GIB  # where nothing says more
    if (entries := _meminfo()) is not None:
        free = entries["MemAvailable"]
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return min([free, *_free_in_container()])


def _meminfo() -> dict[str, int] | None:
    """Linux's account of the host's memory, in bytes."""
    if not _MEMINFO.exists():
        return None
    lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    fields = [line.replace(":", " ").split() for line in lines]
    return {name: int(size) * 1024 for name, size, *_ in fields}


def _free_in_container() -> Iterator[int]:
    """What the limit of a container leaves, if there is one (cgroups 2 and 1)."""
    for limit, used in _CGROUPS:
        try:
            yield max(0, int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue


def room_for_images(
    device: torch.device, limit_gib: float | None = None, num_processes: int = 1
) -> int:
    """Bytes that a set of images may take on the device.

    Args:
        device: The device.
        limit_gib: At most so many GiB; by default half of what is free.
        num_processes: If there are several, a quarter of the whole memory instead,
            shared by all where it is the host's: what is free differs between them,
            but they have to choose alike.

    Example:
        >>> room_for_images(torch.device("cpu"), limit_gib=0.5)
        536870912
    """
    if limit_gib is not None:
        return int(limit_gib * _GIB)
    if num_processes > 1:
        if device.type == "cuda":
            return torch.cuda.get_device_properties(device).total_memory // 4
        entries = _meminfo()
        total = entries["MemTotal"] if entries is not None else 4 * _GIB
        return total // 4 // num_processes
    return int(SHARE * free_memory(device))


def format_bytes(num_bytes: int) -> str:
    """Returns a size that a person can read.

    Example:
        >>> format_bytes(184_320_000), format_bytes(1_234)
        ('176 MiB', '1.21 KiB')
    """
    for name, size in (("GiB", _GIB), ("MiB", 1 << 20)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {name}"
    return f"{num_bytes / 1024:.3g} KiB"
