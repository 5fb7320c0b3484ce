"""CIFAR-10, and CIFAR-20: the images of CIFAR-100 with its 20 superclasses."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100

from hadis_lightly.data.image_source import ArraySource, position_keys
from hadis_lightly.data.sets.download import checked_download, root_of

DEFAULT_CIFAR10_PATH = Path("data") / "cifar10"
DEFAULT_CIFAR20_PATH = Path("data") / "cifar100"


class _CIFAR20(CIFAR100):  # type: ignore[misc]
    """CIFAR-100 with its superclasses for classes."""

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        super().__init__(root, train=train, download=download)
        (name, _), *_ = self.train_list if train else self.test_list
        self.targets = self._content(name)["coarse_labels"]
        self.classes = self._content(self.meta["filename"])["coarse_label_names"]

    def _content(self, name: str) -> dict[str, Any]:
        """Unpickles a file whose checksum torchvision has just compared."""
        with open(Path(self.root) / self.base_folder / name, "rb") as file:
            content: dict[str, Any] = pickle.load(file, encoding="latin1")
        return content


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
        DataError: if the data are not there and cannot be downloaded, or if a file has
            another checksum than the official one.
    """
    return _load(CIFAR10, path, download, "cifar10", "CIFAR-10", "classes")


def load_cifar20(
    path: str | Path = DEFAULT_CIFAR20_PATH, download: bool = True
) -> ArraySource:
    """Loads CIFAR-100 with its 20 superclasses, train and test merged: 60,000 images.

    Args:
        path: Folder that holds ``cifar-100-python`` or the archive
            ``cifar-100-python.tar.gz``, or into which they are downloaded (169 MB).
        download: Whether to download what is missing.

    Returns:
        The source: 32 x 32 colour images, the 50,000 of train first.

    Raises:
        DataError: as :func:`load_cifar10`.
    """
    return _load(_CIFAR20, path, download, "cifar20", "CIFAR-100", "superclasses")


def _load(
    dataset: Any, path: str | Path, download: bool, name: str, title: str, classes: str
) -> ArraySource:
    root = root_of(dataset, path)
    files = [*dataset.train_list, *dataset.test_list]
    files.append((dataset.meta["filename"], dataset.meta["md5"]))
    checksums = [(f"{dataset.base_folder}/{file}", md5) for file, md5 in files]
    checksums.append((dataset.filename, dataset.tgz_md5))
    with checked_download(dataset, root, title, name, download, checksums):
        train = dataset(root, train=True, download=download)
        test = dataset(root, train=False, download=False)
    images = np.concatenate([train.data, test.data])
    class_names = tuple(train.classes)
    return ArraySource(
        name=name,
        class_names=class_names,
        targets=np.array([*train.targets, *test.targets], dtype=np.int64),
        keys=position_keys(len(images)),
        description=(
            f"{title}: train + test merged, {len(images):,} images, 32 x 32, "
            f"{len(class_names)} {classes}"
        ),
        num_channels=3,
        images=images,
    )
