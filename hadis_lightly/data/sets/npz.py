"""Images and labels from one .npz file."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hadis_lightly.data.device_memory import format_bytes, free_memory
from hadis_lightly.data.errors import DataError
from hadis_lightly.data.image_source import (
    ArraySource,
    count_of_classes,
    position_keys,
)
from hadis_lightly.text import in_utf8, one_line, printable

_MAX_LABEL = 2**31 - 1


def load_npz(path: str | Path) -> ArraySource:
    """Loads a file written by ``numpy.savez`` or ``savez_compressed``.

    It holds ``images``, uint8 of shape ``(n, h, w, 3)``, ``(n, h, w, 1)`` or
    ``(n, h, w)``; optionally ``labels``, integers of shape ``(n,)``, -1 where unknown;
    and optionally ``class_names``, strings by label. Other arrays are not read. Nothing
    is ever unpickled: a file from a stranger cannot run code; nor can one that claims
    to be huge take memory that is not there.

    Args:
        path: The file.

    Returns:
        The source; its keys are the positions in the file.

    Raises:
        DataError: if the file is missing or no npz, or if an array is missing, damaged,
            too large, has the wrong dtype or shape, or does not fit the others.
    """
    path = Path(os.path.expanduser(path))
    with _opened(path) as archive:
        images = _images(archive, path)
        targets = _targets(archive, path, len(images))
        class_names = _class_names(archive, path, targets)
    n, height, width, channels = images.shape
    return ArraySource(
        name="npz",
        class_names=class_names,
        targets=targets,
        keys=position_keys(n),
        protocol=(
            f"{printable(path.name)}: {n:,} images, {height} x {width}, "
            f"{count_of_classes(targets, class_names)}"
        ),
        num_channels=channels,
        images=images,
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens the archive and closes it again, also when it turns out to be none."""
    if not os.path.isfile(path):
        problem = "is no file" if os.path.exists(path) else "does not exist"
        if os.path.isdir(path):
            problem = "is a folder"
        raise DataError(f"data file {str(path)!r} {problem}")
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"cannot open data file {str(path)!r}: {error.strerror}"
        ) from error
    with file:
        try:
            # A single array would be read whole, an archive only where asked to.
            is_array = file.read(6) == b"\x93NUMPY"
            file.seek(0)
            archive = None if is_array else np.load(file, allow_pickle=False)
        except Exception as error:  # BadZipFile, EOFError, ValueError, struct.error ...
            raise DataError(f"data file {str(path)!r} is not an npz file") from error
        if archive is None:
            raise DataError(f"data file {str(path)!r} is one array, not an npz file")
        with archive:
            yield archive


def _read(archive: Any, path: Path, name: str) -> NDArray[Any]:
    try:
        _check_header(archive, path, name)
        array = archive[name]
    except DataError:
        raise
    except Exception as error:  # BadZipFile, zlib.error, RuntimeError, MemoryError ...
        reason = one_line(str(error)) or type(error).__name__
        raise DataError(f"{name!r} in {str(path)!r} is damaged: {reason}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name!r} in {str(path)!r} is not an array")
    return array


def _check_header(archive: Any, path: Path, name: str) -> None:
    """Checks what an array claims to be before memory is taken for it."""
    entry = f"{name}.npy"
    if entry not in archive.zip.namelist():
        raise DataError(f"{name!r} in {str(path)!r} is not an array")
    with archive.zip.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_2_0
        if version == (1, 0):
            read_header = np.lib.format.read_array_header_1_0
        shape, _, dtype = read_header(file)
        num_header_bytes = file.tell()
    if dtype.hasobject:
        raise DataError(
            f"{name!r} in {str(path)!r} holds Python objects, which are not loaded: "
            "save a plain array"
        )
    num_bytes = math.prod(shape) * dtype.itemsize
    num_stored = archive.zip.getinfo(entry).file_size - num_header_bytes
    if num_bytes != num_stored:
        raise DataError(
            f"{name!r} in {str(path)!r} is damaged: {num_bytes:,} bytes of shape "
            f"{shape}, but the file holds {num_stored:,}"
        )
    room = free_memory(torch.device("cpu"))
    if num_bytes > room:
        raise DataError(
            f"{name!r} in {str(path)!r} takes {format_bytes(num_bytes)} of memory, but "
            f"only {format_bytes(room)} are free"
        )


def _images(archive: Any, path: Path) -> NDArray[np.uint8]:
    """The images as ``(n, h, w, c)``."""
    if "images" not in archive:
        raise DataError(
            f"no array 'images' in {str(path)!r}; it holds {sorted(archive)}"
        )
    images = _read(archive, path, "images")
    if images.dtype != np.uint8:
        raise DataError(
            f"'images' in {str(path)!r} must be uint8 (0 to 255), got {images.dtype}"
        )
    shape = images.shape
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(
            f"'images' in {str(path)!r} must have shape (n, h, w, 3), (n, h, w, 1) or "
            f"(n, h, w), none of them 0, got {shape}"
        )
    return np.ascontiguousarray(images)


def _targets(archive: Any, path: Path, n: int) -> NDArray[np.int64]:
    """The labels as int64 ``(n,)``, all -1 if the file has none."""
    if "labels" not in archive:
        return np.full(n, -1, dtype=np.int64)
    labels = _read(archive, path, "labels")
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"'labels' in {str(path)!r} must be integers, got {labels.dtype}"
        )
    if labels.shape not in ((n,), (n, 1)):
        raise DataError(
            f"'labels' in {str(path)!r} must have shape ({n},), one for each image, "
            f"got {labels.shape}"
        )
    if labels.max() > _MAX_LABEL:
        raise DataError(
            f"'labels' in {str(path)!r} must be at most {_MAX_LABEL:,}, "
            f"got {labels.max()}"
        )
    targets = labels.reshape(n).astype(np.int64)
    if targets.min() < -1:
        raise DataError(
            f"'labels' in {str(path)!r} must be >= 0, or -1 where unknown, "
            f"got {targets.min()}"
        )
    return targets


def _class_names(
    archive: Any, path: Path, targets: NDArray[np.int64]
) -> tuple[str, ...] | None:
    if "class_names" not in archive:
        return None
    names = _read(archive, path, "class_names")
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(
            f"'class_names' in {str(path)!r} must be a list of strings, "
            f"got {names.dtype} of shape {names.shape}"
        )
    if targets.max() >= len(names):
        raise DataError(
            f"'labels' in {str(path)!r} go up to {targets.max()} but there are only "
            f"{len(names)} 'class_names'"
        )
    if names.dtype.kind == "S":
        try:
            names = np.char.decode(names, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"'class_names' in {str(path)!r} are bytes that are not UTF-8"
            ) from error
    return tuple(in_utf8(str(name)) for name in names)
