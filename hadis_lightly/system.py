"""The machine: its cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def cores_left_by_workers(device: torch.device, num_workers: int) -> Iterator[None]:
    """On a CPU, limits PyTorch's threads to the cores that the workers leave free.

    A thread that waits for a worker's core makes all other threads wait.
    """
    threads = torch.get_num_threads()
    if device.type == "cpu":
        free = available_cores() - num_workers
        torch.set_num_threads(max(1, min(threads, free)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
