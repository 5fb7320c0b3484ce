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
        for seconds, file in self._own_files():
            is_left = file.name.startswith(".")  # by a process that was killed
            if now - seconds > (_SECONDS_UNFINISHED if is_left else _SECONDS_KEPT):
                _remove(file)

    def make_room(self, num_bytes: int) -> None:
        """Removes the oldest files until one of so many bytes fits on the disk.

        Raises:
            OSError: If it would not even then; nothing is removed.
        """
        own = sorted(self._own_files())
        free = shutil.disk_usage(self.folder).free - _BYTES_LEFT_FREE
        if num_bytes > free + sum(file.stat().st_size for _, file in own):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        for _, file in own:
            if shutil.disk_usage(self.folder).free - _BYTES_LEFT_FREE >= num_bytes:
                break
            if file.suffix != ".lock":
                _remove(file)

    def _own_files(self) -> list[tuple[float, Path]]:
        """Files of this cache and when they were last read or written."""
        own = re.compile(rf"[0-9a-f]{{32}}\.(lock|npz|{self.suffix})|{_UNFINISHED}")
        found = []
        for path in self.folder.iterdir():
            if own.fullmatch(path.name):
                with suppress(OSError):
                    found.append((path.stat().st_mtime, path))
        return found

    def file(self, key: str) -> Path:
        """The file of the numbers."""
        return self.folder / f"{key}.{self.suffix}"

    @contextmanager
    def locked(self, key: str) -> Iterator[bool]:
        """Waits until no other process is at work on the key.

        Yields whether it could: not on Windows, nor on disks without locks.
        """
        is_locked = False
        with (self.folder / f"{key}.lock").open("w") as file:
            with suppress(ImportError, OSError):
                import fcntl

                fcntl.lockf(file, fcntl.LOCK_EX)
                is_locked = True
            yield is_locked

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


def _remove(file: Path) -> None:
    with suppress(OSError):  # on Windows, if somebody reads it
        file.unlink()
