"""Command lines: ``hadis-lightly-train``, ``-predict``, ``-report``, ..."""

from __future__ import annotations

import sys
from types import TracebackType

_excepthook = sys.excepthook


def _say_interrupted(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        _excepthook(kind, error, traceback)


# For Ctrl-C while the imports of a command, which take seconds, are under way. Python
# then ends the process by the signal: status 130 in a shell.
sys.excepthook = _say_interrupted
