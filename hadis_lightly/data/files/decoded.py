"""Images that have been decoded once: their pixels, in memory or in a cache file."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hadis_lightly.atomic import atomic_write

_SECONDS_KEPT = 30 * 86_400
# A file that is being written is touched all the time.
_SECONDS_UNFINISHED = 3600
_BYTES_LEFT_FREE = 1 << 30
_OWN = re.compile(r"[0-9a-f]{32}\.(lock|npz|pixels)|\.[0-9a-f]{12}\.unfinished")


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """The pixels of ``n`` images of any size, one after the other.

    Args:
        pixels: uint8 ``(bytes,)``: the pixels ``(h, w, c)`` of each image.
        starts: Where each image starts, int64 ``(n,)``.
        sizes: Height and width of each image, int32 ``(n, 2)``.
        num_channels: 1 or 3.
        path: File of the pixels, if they are not in memory.
    """

    pixels: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int32]
    num_channels: int
    path: Path | None = None

    @classmethod
    def side_by_side(
        cls, pixels: memoryview | Path, sizes: NDArray[np.int32], num_channels: int
    ) -> DecodedImages:
        """Images of these heights and widths, without gaps: in memory or in a file."""
        lengths = pixel_bytes(sizes, num_channels)
        starts = np.cumsum(lengths) - lengths
        if isinstance(pixels, Path):
            return cls(_mapped(pixels), starts, sizes, num_channels, pixels)
        in_memory = np.frombuffer(pixels, np.uint8)
        return cls(in_memory, starts, sizes, num_channels)

    def read(self, index: int) -> Image.Image:
        """The image at ``index``, of mode ``RGB`` or ``L``."""
        height, width = self.sizes[index].tolist()
        start, num_bytes = int(self.starts[index]), height * width * self.num_channels
        mode = "L" if self.num_channels == 1 else "RGB"
        pixels = self.pixels[start : start + num_bytes]
        return Image.frombytes(mode, (width, height), pixels.tobytes())

    def rows(self, indices: NDArray[np.int64]) -> DecodedImages:
        """The images at ``indices``."""
        return replace(self, starts=self.starts[indices], sizes=self.sizes[indices])

    def stacked(self) -> NDArray[np.uint8] | None:
        """All images as one array ``(n, h, w, c)`` that is not a copy, if possible.

        It is if they have one size and lie side by side; else None.
        """
        if not len(self.sizes) or (self.sizes != self.sizes[0]).any():
            return None
        height, width = self.sizes[0].tolist()
        num_bytes, start = height * width * self.num_channels, int(self.starts[0])
        if (np.diff(self.starts) != num_bytes).any():
            return None
        pixels = self.pixels[start : start + num_bytes * len(self.sizes)]
        return pixels.reshape(-1, height, width, self.num_channels)

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens the file, instead of being sent the pixels.
        return self.__dict__ | ({} if self.path is None else {"pixels": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["pixels"] is None:
            state = state | {"pixels": _mapped(state["path"])}
        self.__dict__.update(state)


def pixel_bytes(sizes: NDArray[np.int32], num_channels: int) -> NDArray[np.int64]:
    """Bytes of the pixels of images of these heights and widths, ``(n,)``."""
    areas: NDArray[np.int64] = sizes.astype(np.int64).prod(axis=1)
    return areas * num_channels


def _remove(file: Path) -> None:
    with suppress(OSError):  # on Windows, if somebody reads it
        file.unlink()


def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "c") if path.stat().st_size else np.empty(0, "u1")


class PixelCache:
    """Files of decoded pixels that several processes and runs share.

    Each has a key, 32 hexadecimal digits, and an index: arrays that say what its pixels
    are. What nobody has read for 30 days is removed, and earlier if a new set needs the
    room.

    Args:
        folder: Folder to keep them in; made if need be, for its owner alone. Other
            files in it are left alone.

    Raises:
        OSError: If the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        now = time.time()
        for seconds, file in self._own_files():
            is_left = file.name.startswith(".")  # by a process that was killed
            if now - seconds > (_SECONDS_UNFINISHED if is_left else _SECONDS_KEPT):
                _remove(file)

    def make_room(self, num_bytes: int) -> None:
        """Removes the oldest pixels until others of so many bytes fit on the disk.

        Raises:
            OSError: If they would not even then; nothing is removed.
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
        found = []
        for path in self.folder.iterdir():
            if _OWN.fullmatch(path.name):
                with suppress(OSError):
                    found.append((path.stat().st_mtime, path))
        return found

    def pixels(self, key: str) -> Path:
        """The file of the pixels."""
        return self.folder / f"{key}.pixels"

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Waits until no other process is at work on the key."""
        with (self.folder / f"{key}.lock").open("w") as file:
            with suppress(ImportError, OSError):  # Windows; a disk without locks
                import fcntl

                fcntl.lockf(file, fcntl.LOCK_EX)
            yield

    def load_index(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The index, if it and the pixels are complete; else None."""
        index, pixels = self._index(key), self.pixels(key)
        try:
            with index.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = dict(content)
            if pixels.stat().st_size != int(arrays["num_bytes"]):
                return None
            for path in (index, pixels):
                os.utime(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return arrays

    def save_index(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Saves the index of pixels that have been written."""
        num_bytes = self.pixels(key).stat().st_size
        with atomic_write(self._index(key), "wb") as file:
            np.savez(file, **{**arrays, "num_bytes": np.array(num_bytes)})  # type: ignore[arg-type]

    def _index(self, key: str) -> Path:
        return self.folder / f"{key}.npz"
