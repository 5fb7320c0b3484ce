"""How much memory is free, and how much of it a set of images may take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

_GIB = 1 << 30
_MEMINFO = Path("/proc/meminfo")
# Limit and use of a container: cgroups 2 and 1.
_CGROUPS = [
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
]


def free_memory(device: torch.device) -> int:
    """Bytes that could be allocated on the device now; for a CPU those of the host."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([_host_memory("MemAvailable"), *_free_in_container()])


def _host_memory(name: str) -> int:
    """A field of ``/proc/meminfo`` in bytes, or a guess where there is none."""
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * _GIB


def _free_in_container() -> Iterator[int]:
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
        num_processes: With several, the default is a quarter of all memory, on a CPU
            shared among them: free memory differs, but they have to choose alike.

    Example:
        >>> room_for_images(torch.device("cpu"), limit_gib=0.5)
        536870912
    """
    if limit_gib is not None:
        return int(limit_gib * _GIB)
    if num_processes == 1:
        return free_memory(device) // 2
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 4
    return _host_memory("MemTotal") // 4 // num_processes


def format_bytes(num_bytes: int) -> str:
    """A size in readable units.

    Example:
        >>> format_bytes(184_320_000), format_bytes(1_234)
        ('176 MiB', '1.21 KiB')
    """
    for name, size in (("GiB", _GIB), ("MiB", 1 << 20)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {name}"
    return f"{num_bytes / 1024:.3g} KiB"
