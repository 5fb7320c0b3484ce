"""Public data sets: scikit-learn's digits and CIFAR-10."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits as load_sklearn_digits
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.image_source import (
    ArraySource,
    count_of_classes,
    position_keys,
)
from hadis_lightly.data.sets.download import (
    DOWNLOAD_ERRORS,
    DOWNLOAD_TIMEOUT_SECONDS,
    patient_for,
    root_of,
)
from hadis_lightly.text import one_line

DEFAULT_CIFAR10_PATH = Path("data") / "cifar10"


def load_digits() -> ArraySource:
    """Loads the 1,797 handwritten digits that come with scikit-learn.

    Returns:
        The source: 8 x 8 grey images, their 17 grey levels spread over 0..255.

    Example:
        >>> digits = load_digits()
        >>> digits.images.shape, digits.protocol
        ((1797, 8, 8, 1), 'digits: all 1,797 images, 8 x 8 grey, 10 classes')
    """
    digits = load_sklearn_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    targets = digits.target.astype(np.int64)
    class_names = tuple(str(name) for name in digits.target_names)
    return ArraySource(
        name="digits",
        class_names=class_names,
        targets=targets,
        keys=position_keys(len(images)),
        protocol=(
            f"digits: all {len(images):,} images, 8 x 8 grey, "
            f"{count_of_classes(targets, class_names)}"
        ),
        num_channels=1,
        images=images,
    )


def load_cifar10(
    path: str | Path = DEFAULT_CIFAR10_PATH, download: bool = True
) -> ArraySource:
    """Loads CIFAR-10, train and test merged as in the paper: 60,000 images.

    Args:
        path: Folder that holds ``cifar-10-batches-py`` or the archive
            ``cifar-10-python.tar.gz``, or into which they are downloaded (170 MB).
        download: Whether to download what is missing.

    Returns:
        The source: 32 x 32 colour images, the 50,000 of train first.

    Raises:
        DataError: if the data are not there and cannot be downloaded.
    """
    root = root_of(CIFAR10, path)
    try:
        with patient_for(DOWNLOAD_TIMEOUT_SECONDS):
            train = CIFAR10(root, train=True, download=download)
            test = CIFAR10(root, train=False, download=False)
    except DOWNLOAD_ERRORS as error:
        tried = "could not be downloaded" if download else "download is off"
        raise DataError(
            f"CIFAR-10 is not in {str(root)!r} and {tried} "
            f"({_damaged_file(root) or one_line(str(error))}); point to a "
            "local copy: data=cifar10 data.path=DIR, where DIR holds "
            f"{CIFAR10.base_folder}, or data=npz data.path=FILE, or data=folder "
            "data.path=DIR"
        ) from error
    targets = np.array(train.targets + test.targets, dtype=np.int64)
    class_names = tuple(train.classes)
    return ArraySource(
        name="cifar10",
        class_names=class_names,
        targets=targets,
        keys=position_keys(len(targets)),
        protocol=(
            f"CIFAR-10: train + test merged, {len(targets):,} images, 32 x 32, "
            f"{count_of_classes(targets, class_names)}"
        ),
        num_channels=3,
        images=np.concatenate([train.data, test.data]),
    )


def _damaged_file(root: Path) -> str | None:
    """Says which file of CIFAR-10 is there but not as it should be, if one is."""
    batches = [*CIFAR10.train_list, *CIFAR10.test_list]
    files = [(CIFAR10.base_folder, name, md5) for name, md5 in batches]
    files.append((CIFAR10.base_folder, CIFAR10.meta["filename"], CIFAR10.meta["md5"]))
    files.append(("", CIFAR10.filename, CIFAR10.tgz_md5))
    for folder, name, md5 in files:
        path = root / folder / name
        with contextlib.suppress(OSError):  # of which the other error tells
            if os.path.lexists(path) and not check_integrity(path, md5):
                return f"{str(path)!r} is damaged"
    return None
