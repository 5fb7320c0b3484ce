"""The machine: its cores, its processes, and whether workers can start."""

from __future__ import annotations

import ast
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    import torch

    threads = torch.get_num_threads()
    if device.type == "cpu":
        free = available_cores() - num_workers
        torch.set_num_threads(max(1, min(threads, free)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def has_several_processes(devices: int | str) -> bool:
    """Whether a launcher has started several processes, or Lightning will.

    Args:
        devices: Number of devices, or ``auto``: all GPUs.
    """
    import torch

    number = torch.cuda.device_count() if devices == "auto" else int(devices)
    return number > 1 or os.environ.get("WORLD_SIZE", "1") != "1"


def start_method() -> str:
    """How processes are started: fork, spawn or forkserver; left open to be changed."""
    # The first of all is the default, which get_start_method() alone would make final.
    method = multiprocessing.get_start_method(allow_none=True)
    return method or multiprocessing.get_all_start_methods()[0]


def obstacle_to_workers() -> str | None:
    """Why worker processes cannot start from here; None if they can.

    Unless they are forked, Python imports the main script in each of them again, which
    must not start a run there. A notebook and the interactive prompt have no script.
    """
    if multiprocessing.current_process().daemon:
        return "this process is daemonic and may not start worker processes"
    if start_method() == "fork":
        return None
    main = sys.modules["__main__"]
    path, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    # Python does not import the __main__ of a package again either.
    if path is None or (spec is not None and spec.name.split(".")[-1] == "__main__"):
        return None
    if path == "<stdin>":
        return "worker processes cannot import a script from standard input"
    if _calls_unguarded(Path(path)):
        return (
            f"worker processes would run {path!r} again, whose call is not below "
            '`if __name__ == "__main__":`'
        )
    return None


def _calls_unguarded(script: Path) -> bool:
    """Whether the main script is being run outside ``if __name__ == "__main__"``."""
    main, frame = vars(sys.modules["__main__"]), sys._getframe()
    while frame.f_globals is not main or frame.f_code.co_name != "<module>":
        if frame.f_back is None:  # such as a thread
            return False
        frame = frame.f_back
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError):  # a launcher without a source
        return False
    return not any(
        isinstance(node, ast.If)
        and "__name__" in ast.unparse(node.test)
        and node.lineno <= frame.f_lineno <= (node.end_lineno or 0)
        for node in ast.walk(tree)
    )
