"""Images and labels from one .npz file."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.image_source import (
    ArraySource,
    count_of_classes,
    position_keys,
)

#: How a file that is damaged, or not an npz at all, shows itself to numpy.
_UNREADABLE = (
    OSError,
    EOFError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_npz(path: str | Path) -> ArraySource:
    """Loads a file written by ``numpy.savez`` or ``savez_compressed``.

    It holds ``images``, uint8 of shape ``(n, h, w, 3)``, ``(n, h, w, 1)`` or
    ``(n, h, w)``; optionally ``labels``, integers of shape ``(n,)``, -1 where unknown;
    and optionally ``class_names``, strings by label. Other arrays are not read. Nothing
    is ever unpickled: a file from a stranger cannot run code.

    Args:
        path: The file.

    Returns:
        The source; its keys are the positions in the file.

    Raises:
        DataError: if the file is missing or no npz, or if an array is missing, has the
            wrong dtype or shape, or does not fit the others.
    """
    path = Path(path).expanduser()
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
            f"{path.name}: {n:,} images, {height} x {width}, "
            f"{count_of_classes(targets, class_names)}"
        ),
        num_channels=channels,
        images=images,
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens the archive and closes it again, also when it turns out to be none."""
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"data file {str(path)!r} {problem}")
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"cannot open data file {str(path)!r}: {error.strerror}"
        ) from error
    with file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (*_UNREADABLE, ValueError) as error:
            raise DataError(f"data file {str(path)!r} is not an npz file") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"data file {str(path)!r} is one array, not an npz file")
        with archive:
            yield archive


def _read(archive: Any, path: Path, name: str) -> NDArray[Any]:
    try:
        array = archive[name]
    except ValueError as error:
        raise DataError(
            f"{name!r} in {str(path)!r} holds Python objects, which are not loaded: "
            "save a plain array"
        ) from error
    except _UNREADABLE as error:
        raise DataError(f"{name!r} in {str(path)!r} is damaged: {error}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name!r} in {str(path)!r} is not an array")
    return array


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
    return images


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
        names = np.char.decode(names, "utf-8")
    return tuple(str(name) for name in names)
