"""Signals that ask a run to end: it saves first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class RunInterrupted(Exception):
    """A run ended because it was told to, and can be resumed.

    Args:
        message: What was saved, and how to go on.
        signum: The signal that it was told by.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """What a process that ends for it returns, as shells have it."""
        return 128 + self.signum


class StopRequest:
    """Remembers the signal that asked the run to end.

    Ctrl-C, and the signals by which schedulers announce that they will kill: SIGTERM,
    and SIGUSR1 under SLURM. A second Ctrl-C ends the run at once.
    """

    def __init__(self) -> None:
        self.signum = 0

    def __bool__(self) -> bool:
        return self.signum != 0

    def _take(self, signum: int, frame: FrameType | None) -> None:
        if self.signum and signum == signal.SIGINT:
            # Not a KeyboardInterrupt: Lightning would make another end of it.
            raise RunInterrupted(
                "interrupted at once, nothing was saved; the last checkpoint stays",
                signum,
            )
        self.signum = signum

    @contextmanager
    def listening(self, signals: tuple[int, ...]) -> Iterator[None]:
        """Takes the signals; what they did before they do again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread only
            return
        ignored = [s for s in signals if signal.getsignal(s) == signal.SIG_IGN]  # nohup
        before = {
            signum: signal.signal(signum, self._take)
            for signum in signals
            if signum not in ignored
        }
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler or signal.SIG_DFL)
