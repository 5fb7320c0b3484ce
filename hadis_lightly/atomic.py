"""Files that are either complete or absent."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_UNFINISHED = ".unfinished"
# The disk, a quota, or the largest size of a file.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a file that appears under its name only once it is complete and on disk.

    It is written under a name of its own in the same folder, flushed, and renamed: of
    several writers the last one wins, whole. A full disk or the end of the process
    leaves what was there; only a process that is killed leaves its unfinished file.

    Args:
        path: The file; its folder is made if need be.
        mode: ``"w"`` for text in UTF-8, ``"wb"`` for bytes.

    Raises:
        OSError: If the file cannot be written; names it if the disk is full.

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
    unfinished = unfinished_name(path)
    mode = mode.replace("w", "x")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with open(unfinished, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink()
        full = disk_full_error(error)
        if full is None:
            raise
        raise OSError(full.errno, full.strerror, full.filename or str(path)) from error
    _sync_folder(path.parent)


def unfinished_name(path: Path) -> Path:
    """A hidden name, nobody else's, for a file that is to become ``path``."""
    return path.with_name(f".{secrets.token_hex(6)}{_UNFINISHED}{path.suffix}")


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left below a folder in which nobody writes."""
    for unfinished in folder.rglob(f".*{_UNFINISHED}*"):
        with suppress(OSError):
            unfinished.unlink()


def disk_full_error(error: BaseException | None) -> OSError | None:
    """The error that says that a disk is full, of a chain of errors; None if none does.

    PyTorch, for one, raises a RuntimeError of its own over it.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return error
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context
    return None


def _sync_folder(folder: Path) -> None:
    """Puts the new name itself on disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
