"""CIFAR-20: the images of CIFAR-100 with its 20 superclasses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import CIFAR100

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.image_source import ArraySource, position_keys
from hadis_lightly.data.sets.download import require_files, root_of
from hadis_lightly.data.sets.plain_pickle import read_pickled_dict
from hadis_lightly.text import in_utf8

DEFAULT_CIFAR20_PATH = Path("data") / "cifar100"
_SIDE = 32
_META = "meta"


def load_cifar20(
    path: str | Path = DEFAULT_CIFAR20_PATH, download: bool = True
) -> ArraySource:
    """Loads CIFAR-100 with its 20 superclasses, train and test merged: 60,000 images.

    Which superclass an image is in, and what it is called, stands in the files. They
    are pickles, but nothing in them is run.

    Args:
        path: Folder that holds ``cifar-100-python`` with its files ``train``, ``test``
            and ``meta``, or into which they are downloaded (169 MB); or that folder.
        download: Whether to download the data if a file is missing.

    Returns:
        The source: 32 x 32 colour images, the 50,000 of train first.

    Raises:
        DataError: if the data are not there and cannot be downloaded, or are damaged.
    """
    root = root_of(CIFAR100, path)
    splits = ("train", "test")
    require_files(CIFAR100, root, [*splits, _META], download, "cifar20")
    folder = root / CIFAR100.base_folder
    class_names = _class_names(folder / _META)
    parts = [_split(folder / name, len(class_names)) for name in splits]
    images = np.concatenate([part[0] for part in parts])
    targets = np.concatenate([part[1] for part in parts])
    return ArraySource(
        name="cifar20",
        class_names=class_names,
        targets=targets,
        keys=position_keys(len(targets)),
        protocol=(
            f"CIFAR-100: train + test merged, {len(targets):,} images, "
            f"{_SIDE} x {_SIDE}, {len(class_names)} superclasses"
        ),
        num_channels=3,
        images=images,
    )


def _class_names(path: Path) -> tuple[str, ...]:
    names = _entry(read_pickled_dict(path), "coarse_label_names", path)
    if not isinstance(names, list) or not all(
        isinstance(name, (bytes, str)) for name in names
    ):
        raise DataError(
            f"'coarse_label_names' in {str(path)!r} must be a list of texts"
        )
    return tuple(
        in_utf8(name if isinstance(name, str) else name.decode("utf-8", "replace"))
        for name in names
    )


def _split(path: Path, num_classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images ``(n, 32, 32, 3)`` and superclasses ``(n,)`` of one file."""
    content = read_pickled_dict(path)
    rows = _entry(content, "data", path)
    size = 3 * _SIDE * _SIDE
    if (
        not isinstance(rows, np.ndarray)
        or rows.dtype != np.uint8
        or rows.ndim != 2
        or rows.shape[1] != size
    ):
        raise DataError(f"'data' in {str(path)!r} must be uint8 of shape (n, {size})")
    images = rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    targets = _labels(_entry(content, "coarse_labels", path))
    if targets is None or targets.shape != (len(rows),):
        raise DataError(
            f"'coarse_labels' in {str(path)!r} must be {len(rows):,} whole numbers, "
            "one for each image"
        )
    wrong = targets[(targets < 0) | (targets >= num_classes)]
    if len(wrong):
        raise DataError(
            f"'coarse_labels' in {str(path)!r} must be 0 to {num_classes - 1}, got "
            f"{wrong[0]}"
        )
    return np.ascontiguousarray(images), targets


def _labels(values: Any) -> NDArray[np.int64] | None:
    """Whole numbers, as a list or an array; None if they are anything else."""
    if isinstance(values, list):
        if not all(type(value) is int for value in values):
            return None
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            return None
    return values.astype(np.int64) if isinstance(values, np.ndarray) else None


def _entry(content: dict[str, Any], name: str, path: Path) -> Any:
    if name not in content:
        raise DataError(
            f"no {name!r} in {str(path)!r}: it is no file of CIFAR-100 as Python reads "
            f"it; it holds {sorted(content)}"
        )
    return content[name]
