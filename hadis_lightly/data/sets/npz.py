"""Images and labels from one .npz file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.image_source import (
    ArraySource,
    count_of_classes,
    position_keys,
)
from hadis_lightly.text import describe_error, in_utf8, printable

_MAX_LABEL = 2**31 - 1


def load_npz(path: str | Path) -> ArraySource:
    """Loads a file written by ``numpy.savez`` or ``savez_compressed``.

    It holds ``images``, uint8 of shape ``(n, h, w, 3)``, ``(n, h, w, 1)`` or
    ``(n, h, w)``; optionally ``labels``, integers of shape ``(n,)``, -1 where unknown;
    and optionally ``class_names``, strings by label. Other arrays are not read, and
    nothing is ever unpickled: a file from a stranger cannot run code.

    Args:
        path: The file.

    Returns:
        The source; its keys are the positions in the file.

    Raises:
        DataError: if the file is missing or no npz, or if an array is missing, damaged,
            too large for the memory, has the wrong dtype or shape, or does not fit the
            others.
    """
    path = Path(os.path.expanduser(path))
    if not os.path.isfile(path):
        problem = "is no file" if os.path.exists(path) else "does not exist"
        raise DataError(f"data file {str(path)!r} {problem}")
    try:
        with path.open("rb") as file:  # which np.load leaves open if it fails
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise DataError(
                    f"data file {str(path)!r} is one array, not an npz file"
                )
            images = _images(archive, path)
            targets = _targets(archive, path, len(images))
            class_names = _class_names(archive, path, targets)
    except DataError:
        raise
    except Exception as error:  # BadZipFile, EOFError, ValueError, OSError ...
        raise DataError(
            f"data file {str(path)!r} is not an npz file: {describe_error(error)}"
        ) from error
    n, height, width, channels = images.shape
    return ArraySource(
        name="npz",
        class_names=class_names,
        targets=targets,
        keys=position_keys(n),
        description=(
            f"{printable(path.name)}: {n:,} images, {height} x {width}, "
            f"{count_of_classes(targets, class_names)}"
        ),
        num_channels=channels,
        images=images,
    )


def _read(archive: NpzFile, path: Path, name: str) -> NDArray[Any]:
    try:
        array = archive[name]
    except Exception as error:  # BadZipFile, zlib.error, ValueError, MemoryError ...
        raise DataError(
            f"{name!r} in {str(path)!r} cannot be read: {describe_error(error)}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name!r} in {str(path)!r} is not an array")
    return array


def _check(is_right: bool, path: Path, name: str, wanted: str, found: object) -> None:
    """Raises ``'images' in 'set.npz' must be uint8, got float64`` and the like."""
    if not is_right:
        raise DataError(f"{name!r} in {str(path)!r} must {wanted}, got {found}")


def _images(archive: NpzFile, path: Path) -> NDArray[np.uint8]:
    """The images as ``(n, h, w, c)``."""
    if "images" not in archive:
        raise DataError(
            f"no array 'images' in {str(path)!r}; it holds {sorted(archive)}"
        )
    images = _read(archive, path, "images")
    _check(
        images.dtype == np.uint8, path, "images", "be uint8 (0 to 255)", images.dtype
    )
    shape = images.shape
    images = images[..., np.newaxis] if images.ndim == 3 else images
    _check(
        images.ndim == 4 and images.shape[3] in (1, 3) and 0 not in images.shape,
        path,
        "images",
        "have shape (n, h, w, 3), (n, h, w, 1) or (n, h, w), none of them 0",
        shape,
    )
    return np.ascontiguousarray(images)


def _targets(archive: NpzFile, path: Path, n: int) -> NDArray[np.int64]:
    """The labels as int64 ``(n,)``, all -1 if the file has none."""
    if "labels" not in archive:
        return np.full(n, -1, dtype=np.int64)
    labels = _read(archive, path, "labels")
    _check(labels.dtype.kind in "iu", path, "labels", "be integers", labels.dtype)
    is_right = labels.shape in ((n,), (n, 1))
    wanted = f"have shape ({n},), one for each image"
    _check(is_right, path, "labels", wanted, labels.shape)
    wrong = labels[(labels < -1) | (labels > _MAX_LABEL)]
    wanted = f"be 0 to {_MAX_LABEL:,}, or -1 where unknown"
    _check(len(wrong) == 0, path, "labels", wanted, wrong[:1])
    return labels.reshape(n).astype(np.int64)


def _class_names(
    archive: NpzFile, path: Path, targets: NDArray[np.int64]
) -> tuple[str, ...] | None:
    if "class_names" not in archive:
        return None
    names = _read(archive, path, "class_names")
    is_right = names.ndim == 1 and names.dtype.kind in "US"
    found = f"{names.dtype} of shape {names.shape}"
    _check(is_right, path, "class_names", "be a list of strings", found)
    if targets.max() >= len(names):
        raise DataError(
            f"'labels' in {str(path)!r} go up to {targets.max()} but there are only "
            f"{len(names)} 'class_names'"
        )
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", "replace")
    return tuple(in_utf8(str(name)) for name in names)
