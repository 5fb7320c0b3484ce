"""Processes that need not import anything, as they are forks of this one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import multiprocessing as torch_mp


def run_forked(function: Callable[..., None], num: int, *arguments: Any) -> None:
    """Calls ``function(rank, *arguments)`` in processes of ranks 0 to ``num - 1``."""
    with warnings.catch_warnings():  # nothing that other threads hold is used in them
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        torch_mp.start_processes(function, arguments, num, start_method="fork")
