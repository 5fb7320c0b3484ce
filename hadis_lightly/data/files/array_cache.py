"""A folder of files that have been computed once, for several processes and runs."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hadis_lightly.atomic import atomic_write

_SECONDS_KEPT = 30 * 86_400
# A file that is being written is touched all the time.
_SECONDS_UNFINISHED = 3600
_BYTES_LEFT_FREE = 1 << 30
_UNFINISHED = r"\.[0-9a-f]{12}\.unfinished(\.\w+)?"


class ArrayCache:
    """Files of numbers that several processes and runs share.

    Each has a key, 32 hexadecimal digits, and an index: arrays that say what its
    numbers are. What nobody has read for 30 days is removed, and earlier if a new file
    needs the room.

    Args:
        folder: Folder to keep them in; made if need be, for its owner alone. Other
            files in it are left alone.

    Raises:
        OSError: If the folder cannot be made.
    """

    #: Of the names of the files.
    suffix: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        now = time.time()
        for file in folder.iterdir():
            if re.fullmatch(_UNFINISHED, file.name):  # left by a killed process
                with suppress(OSError):
                    if now - file.stat().st_mtime > _SECONDS_UNFINISHED:
                        file.unlink()
        for key, (seconds, _) in self._kept().items():
            if now - seconds > _SECONDS_KEPT:
                self._remove_idle(key)

    def make_room(self, key: str, num_bytes: int) -> None:
        """Makes room on the disk for the numbers of a key, which the caller has locked.

        Removes what there is of this key, and then other keys, the longest unread
        first, as far as needed. A key that somebody has locked stays.

        Raises:
            OSError: If the numbers do not fit even then. Other keys stay if all of them
                together would not be enough.
        """
        self._remove(key)
        kept = self._kept()
        if self._free() + sum(size for _, size in kept.values()) >= num_bytes:
            for other in kept:
                if self._free() >= num_bytes:
                    break
                self._remove_idle(other)
        if self._free() < num_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))

    def _kept(self) -> dict[str, tuple[float, int]]:
        """When each key was last read or written, and its bytes; the oldest first."""
        own = re.compile(rf"([0-9a-f]{{32}})\.(npz|{self.suffix})")
        found: dict[str, tuple[float, int]] = {}
        for path in self.folder.iterdir():
            match = own.fullmatch(path.name)
            if match is not None:
                with suppress(OSError):
                    status = path.stat()
                    seconds, size = found.get(match[1], (0.0, 0))
                    latest = max(seconds, status.st_mtime)
                    found[match[1]] = latest, size + status.st_size
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def _free(self) -> int:
        """Bytes that may still be written."""
        return shutil.disk_usage(self.folder).free - _BYTES_LEFT_FREE

    def _remove_idle(self, key: str) -> None:
        """Removes the files of a key, unless somebody has locked it.

        The lock file stays: who waits for it would not see that another is made.
        """
        with suppress(OSError), self.locked(key, wait=False):
            self._remove(key)

    def _remove(self, key: str) -> None:
        for file in (self._index(key), self.file(key)):
            with suppress(OSError):  # on Windows, if somebody reads it
                file.unlink()

    def file(self, key: str) -> Path:
        """The file of the numbers."""
        return self.folder / f"{key}.{self.suffix}"

    @contextmanager
    def locked(self, key: str, *, wait: bool = True) -> Iterator[bool]:
        """Waits until no other process or thread is at work on the key.

        Yields whether it could: not on Windows, nor on disks without locks.

        Args:
            key: The key.
            wait: Whether to wait; else a key that is locked is an error.

        Raises:
            OSError: If the folder cannot be written; a BlockingIOError if the key is
                locked and ``wait`` is False.
        """
        with (self.folder / f"{key}.lock").open("w") as file:
            try:
                import fcntl

                # Not lockf: closing any other handle of the file would end the lock.
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise
            except (ImportError, OSError):
                yield False
                return
            try:
                yield True
            finally:  # closing is not enough while a forked process has the handle
                fcntl.flock(file, fcntl.LOCK_UN)

    def load_index(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The index, if it and the file are complete; else None."""
        index, numbers = self._index(key), self.file(key)
        try:
            with index.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = dict(content)
            if numbers.stat().st_size != int(arrays["num_bytes"]):
                return None
            for path in (index, numbers):
                os.utime(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return arrays

    def save_index(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Saves the index of a file that has been written."""
        num_bytes = self.file(key).stat().st_size
        with atomic_write(self._index(key), "wb") as file:
            np.savez(file, **{**arrays, "num_bytes": np.array(num_bytes)})  # type: ignore[arg-type]

    def _index(self, key: str) -> Path:
        return self.folder / f"{key}.npz"
