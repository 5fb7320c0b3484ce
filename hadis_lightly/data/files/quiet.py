"""Keeps Pillow's warnings in, also while several threads decode."""

from __future__ import annotations

import threading
import warnings


class _QuietPillow:
    """A context in which Pillow's warnings are not shown.

    ``warnings.catch_warnings`` is not safe for threads: of two that overlap, the last
    to end restores what the other had changed. So the first thread opens it, and the
    last one closes it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._count == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                self._caught.__exit__(None, None, None)


quiet_pillow = _QuietPillow()
