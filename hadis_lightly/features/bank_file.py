"""The rows of a feature bank: in a file that grows batch by batch, or in memory."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hadis_lightly.atomic import atomic_write
from hadis_lightly.data import ArrayCache

# What a killed process loses at most.
_SECONDS_UNSAVED = 10.0
# Largest error of float16, relative to the largest number of a row: it rounds by
# 0.0005, but what lies beyond 65,504 or far below 0.0001 gets lost.
_MAX_ERROR = 1e-3


class FeatureCache(ArrayCache):
    """Files of features that several processes and runs share."""

    suffix = "features"


class BankFile:
    """Writes the features of ``n`` plain images and their V views, in order.

    The file has its full size from the start; the index beside it says how many images
    are done. A later process goes on there. Used as a context, within the lock of the
    cache; what is done is saved at its end, too.

    Args:
        cache: Where the file is; None for memory.
        key: Its key.
        n_images: Number of images n.
        n_views: Number of views V of each.

    Attributes:
        num_done: Number of images done.
        is_half: Whether the backbone computed them in half precision.
        path: The file; None for memory.
    """

    def __init__(
        self, cache: FeatureCache | None, key: str, n_images: int, n_views: int
    ) -> None:
        self.cache, self.key = cache, key
        self.path = None if cache is None else cache.file(key)
        self.n_images, self.width = n_images, 1 + n_views
        self._file: IO[bytes] = io.BytesIO()
        self._shape: tuple[int, ...] = (n_images, self.width, 0)
        self._dtype: np.dtype[Any] = np.dtype(np.float16)
        self.num_done, self.is_half = 0, False
        index = None if cache is None else cache.load_index(key)
        if index is not None and self.path is not None:
            shape, self._dtype, self.num_done, self.is_half = _read(index)
            check_numbers(shape, n_images, n_views)
            self._shape = shape
            self._file = self.path.open("r+b")
        self._saved_at = time.monotonic()

    def __enter__(self) -> BankFile:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._save()
        finally:
            if self.path is not None:
                self._file.close()

    def append(self, features: Tensor) -> bool:
        """Writes the features of the next images; False if float16 loses too much.

        Args:
            features: float32 ``(b, 1 + V, d)``, on the CPU.

        Raises:
            ValueError: If there are too many, or they are not finite.
            OSError: If the disk is full, or the file cannot be written.
        """
        end = self.num_done + len(features)
        if end > self.n_images or features.shape[1] != self.width:
            raise ValueError(
                f"batches must give {self.n_images} images, each plain and in "
                f"{self.width - 1} views, but images {self.num_done} to {end - 1} came "
                f"in {features.shape[1] - 1} views."
            )
        is_bad = ~features.isfinite().flatten(1).all(dim=1)
        if is_bad.any():
            bad = self.num_done + int(is_bad.int().argmax())
            raise ValueError(f"the backbone's features of image {bad} are not finite.")
        exact = features.numpy()
        with np.errstate(over="ignore"):
            rows = exact.astype(self._dtype)
        if not _is_close(rows, exact):
            return False
        if self.num_done == 0:
            self._make_file((self.n_images, *features.shape[1:]))
        self._file.seek(self.num_done * rows[0].nbytes)
        self._file.write(rows.data)
        self.num_done = end
        if time.monotonic() - self._saved_at > _SECONDS_UNSAVED:
            self._save()
        return True

    def restart(self) -> None:
        """Forgets all rows; the next ones are float32."""
        self.num_done, self._dtype = 0, np.dtype(np.float32)

    def features(self) -> Tensor:
        """All features ``(n, 1 + V, d)``, once they are complete."""
        if self.path is not None:
            return _mapped(self.path, self._shape, self._dtype)
        assert isinstance(self._file, io.BytesIO)
        rows = np.frombuffer(self._file.getbuffer(), self._dtype)
        return torch.from_numpy(rows.reshape(self._shape))

    def _make_file(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        if self.cache is None or self.path is None:
            self._file = io.BytesIO()
            return
        self._file.close()
        num_bytes = int(np.prod(shape)) * self._dtype.itemsize
        self.cache.make_room(self.key, num_bytes)
        # A new file: another process may still have mapped an old one.
        self._file = self.path.open("xb")
        self._file.truncate(num_bytes)

    def _save(self) -> None:
        """Puts the rows on disk, and then their number."""
        if self.cache is not None and self.num_done > 0:
            self._file.flush()
            os.fsync(self._file.fileno())
            index = _index(self._shape, self._dtype, self.num_done, self.is_half)
            self.cache.save_index(self.key, index)
            self._saved_at = time.monotonic()


def check_numbers(shape: tuple[int, ...], n_images: int, n_views: int) -> None:
    """Raises a ValueError if a file is of other numbers of images and views."""
    if shape[:2] != (n_images, 1 + n_views):
        raise ValueError(
            f"what the cache has of this key are {shape[0]} images in {shape[1] - 1} "
            f"views, not {n_images} in {n_views}."
        )


def save_bank(cache: FeatureCache, key: str, features: Tensor, is_half: bool) -> None:
    """Puts a bank from memory into a cache, whole.

    Raises:
        OSError: If that cannot be done.
    """
    rows = features.numpy()
    cache.make_room(key, rows.nbytes)
    with atomic_write(cache.file(key), "wb") as file:
        file.write(rows.data)
    cache.save_index(key, _index(rows.shape, rows.dtype, len(rows), is_half))


def load_bank(cache: FeatureCache, key: str) -> tuple[Tensor, bool] | None:
    """The features ``(n, 1 + V, d)`` of a complete file, mapped; else None.

    Beside them whether the backbone computed them in half precision.
    """
    index = cache.load_index(key)
    if index is None:
        return None
    shape, dtype, num_done, is_half = _read(index)
    if num_done < shape[0]:
        return None
    try:
        return _mapped(cache.file(key), shape, dtype), is_half
    except FileNotFoundError:  # removed a moment ago, to make room
        return None


def _index(
    shape: tuple[int, ...], dtype: np.dtype[Any], num_done: int, is_half: bool
) -> dict[str, NDArray[Any]]:
    return {
        "shape": np.array(shape),
        "dtype": np.array(dtype.name),
        "num_done": np.array(num_done),
        "is_half": np.array(is_half),
    }


def _read(
    index: dict[str, NDArray[Any]],
) -> tuple[tuple[int, ...], np.dtype[Any], int, bool]:
    shape = tuple(index["shape"].tolist())
    dtype = np.dtype(str(index["dtype"]))
    return shape, dtype, int(index["num_done"]), bool(index["is_half"])


def _mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    return torch.from_numpy(np.memmap(path, dtype, "c", shape=shape))


def _is_close(rows: NDArray[Any], exact: NDArray[np.float32]) -> bool:
    """Whether rounding has changed no row by too much."""
    if rows.dtype == exact.dtype:
        return True
    error = np.abs(rows - exact).max(axis=-1)  # not finite after an overflow
    return bool((error <= _MAX_ERROR * np.abs(exact).max(axis=-1)).all())
