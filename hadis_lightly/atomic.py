"""Files that are either complete or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a file that appears under its name only once it is complete and on disk.

    It is written under another name in the same folder, flushed, and renamed. A full
    disk or the end of the process leaves what was there.

    Args:
        path: The file; its folder is made if need be.
        mode: ``"w"`` for text in UTF-8, ``"wb"`` for bytes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.txt"
        >>> with atomic_write(path) as file:
        ...     _ = file.write("0.93")
        >>> path.read_text()
        '0.93'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that the next process overwrites what a killed one left.
    unfinished = path.with_name(f".{path.name}.unfinished")
    is_text = "b" not in mode
    text = {"encoding": "utf-8", "newline": ""} if is_text else {}
    try:
        with open(unfinished, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Puts the new name itself on disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
