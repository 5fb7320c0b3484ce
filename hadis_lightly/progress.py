"""Progress of a long step."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

from tqdm import TqdmWarning

with warnings.catch_warnings():
    # In a notebook without ipywidgets it warns, and draws a text bar all the same.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm


def redraws() -> bool:
    """Whether a bar can be redrawn: in a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class StepProgress:
    """Progress of a step that takes longer than two seconds; silent for a shorter one.

    Args:
        what: The step, such as ``"reading images"``.
        enabled: Whether to show anything.

    Example:
        >>> with StepProgress("reading images") as progress:
        ...     progress(1, 2)
    """

    def __init__(self, what: str, enabled: bool = True) -> None:
        self.what = what
        self.enabled = enabled
        self._bar: tqdm[Any] | None = None
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> StepProgress:
        self._start = self._last_line = time.monotonic()
        return self

    def __call__(self, done: int, total: int) -> None:
        """Shows that ``done`` of ``total`` are done."""
        now = time.monotonic()
        if not self.enabled or now - self._start < 2:
            return
        if not redraws():
            if now - self._last_line >= 10:
                self._last_line = now
                line = f"{self.what}: {done:,} of {total:,}"
                if 0 < done < total:
                    left = (now - self._start) / done * (total - done)
                    line += f", {clock(left)} left"
                print(line, file=sys.stderr, flush=True)
            return
        if self._bar is None:
            self._bar = tqdm(desc=self.what, total=total, leave=False)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()


def clock(seconds: float) -> str:
    """``1:02:03``, or ``02:03`` below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    time_left = f"{minutes:02}:{seconds:02}"
    return f"{hours}:{time_left}" if hours else time_left
