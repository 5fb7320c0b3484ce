"""The machine: its cores, and names in its folders that are not taken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def cores_left_by_workers(device: torch.device, num_workers: int) -> Iterator[None]:
    """On a CPU, gives PyTorch as many threads as the workers leave cores.

    A thread that waits for a core which a worker holds makes all others wait.
    """
    threads = torch.get_num_threads()
    if device.type == "cpu":
        free = available_cores() - num_workers
        torch.set_num_threads(max(1, min(threads, free)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def unique_path(path: Path) -> Path:
    """The path, or with a number if something is there: ``a.csv``, ``a-2.csv``, ...

    Nothing that an earlier command left is ever overwritten.
    """
    number = 2
    found = path
    while found.exists() or found.is_symlink():
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return found
