"""Images and labels from one .npz file."""

from __future__ import annotations

import os
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
from hadis_lightly.text import describe_error, in_utf8, printable

_NAMES = ("images", "labels", "class_names")
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
        DataError: if the file is missing or not an npz file, or if an array is missing,
            damaged, too large for the memory, has the wrong dtype or shape, or does not
            fit the others.
    """
    path = Path(os.path.expanduser(path))
    if not os.path.isfile(path):
        problem = "is no file" if os.path.exists(path) else "does not exist"
        raise DataError(f"data file {str(path)!r} {problem}")
    arrays = _read(path)
    try:
        images = _images(arrays["images"])
        n, height, width, channels = images.shape
        targets = np.full(n, -1, dtype=np.int64)
        if "labels" in arrays:
            targets = _targets(arrays["labels"], n)
        class_names = None
        if "class_names" in arrays:
            class_names = _class_names(arrays["class_names"], targets.max())
    except ValueError as error:
        raise DataError(f"data file {str(path)!r}: {error}") from None
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


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the file that matter."""
    arrays = {}
    name = None
    try:
        with path.open("rb") as file:  # which np.load leaves open if it fails
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is one array")
            if "images" not in archive:
                raise ValueError(f"no array 'images', it holds {sorted(archive)}")
            for name in filter(archive.__contains__, _NAMES):
                arrays[name] = np.asarray(archive[name])
    except Exception as error:  # BadZipFile, zlib.error, ValueError, MemoryError ...
        problem = "is not an npz file of images"
        if name is not None:
            problem = f"has an array {name!r} that cannot be read"
        raise DataError(
            f"data file {str(path)!r} {problem}: {describe_error(error)}"
        ) from error
    return arrays


def _images(images: NDArray[Any]) -> NDArray[np.uint8]:
    """The images as ``(n, h, w, c)``."""
    if images.dtype != np.uint8:
        raise ValueError(f"'images' must be uint8 (0 to 255), got {images.dtype}")
    shape = images.shape
    images = images[..., np.newaxis] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in shape:
        raise ValueError(
            "'images' must have shape (n, h, w, 3), (n, h, w, 1) or (n, h, w), none of "
            f"them 0, got {shape}"
        )
    return np.ascontiguousarray(images)


def _targets(labels: NDArray[Any], n: int) -> NDArray[np.int64]:
    """The labels as int64 ``(n,)``."""
    if labels.dtype.kind not in "iu":
        raise ValueError(f"'labels' must be integers, got {labels.dtype}")
    if labels.shape not in ((n,), (n, 1)):
        raise ValueError(
            f"'labels' must have shape ({n},), one for each image, got {labels.shape}"
        )
    wrong = labels[(labels < -1) | (labels > _MAX_LABEL)]
    if len(wrong):
        raise ValueError(
            f"'labels' must be 0 to {_MAX_LABEL:,}, or -1 where unknown, got {wrong[0]}"
        )
    return labels.reshape(n).astype(np.int64)


def _class_names(names: NDArray[Any], largest: int) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise ValueError(
            "'class_names' must be a list of strings, got "
            f"{names.dtype} of shape {names.shape}"
        )
    if largest >= len(names):
        raise ValueError(
            f"'labels' go up to {largest}, but there are only {len(names)} "
            "'class_names'"
        )
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", "replace")
    return tuple(in_utf8(str(name)) for name in names)
