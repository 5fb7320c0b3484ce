"""Signals that ask a run to stop: it saves first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class RunInterrupted(Exception):
    """A signal has ended a run, which can be resumed.

    Args:
        message: What was saved, and how to continue.
        signum: The signal.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """Exit status of the process, by the convention of shells."""
        return 128 + self.signum


class StopRequest:
    """Remembers the signal that asked the run to stop.

    Listens for Ctrl-C and for what schedulers send before they kill: SIGTERM, and under
    SLURM SIGUSR1. A second Ctrl-C ends the run at once.
    """

    def __init__(self) -> None:
        self.signum = 0

    def __bool__(self) -> bool:
        return self.signum != 0

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self.signum and signum == signal.SIGINT:
            # Lightning would handle a KeyboardInterrupt in its own way.
            raise RunInterrupted(
                "interrupted at once, nothing was saved; the last checkpoint stays",
                signum,
            )
        self.signum = signum

    @contextmanager
    def listening(self, signals: tuple[int, ...]) -> Iterator[None]:
        """Receives the signals, and puts the earlier handlers back afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread only
            return
        before = {
            signum: signal.signal(signum, self._receive)
            for signum in signals
            if signal.getsignal(signum) != signal.SIG_IGN  # as nohup sets it
        }
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler or signal.SIG_DFL)
