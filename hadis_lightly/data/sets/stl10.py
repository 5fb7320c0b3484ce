"""STL-10: 96 x 96 images in binary files, of which each is read when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import STL10

from hadis_lightly.data.errors import DataError, ImageReadError
from hadis_lightly.data.image_source import (
    ImageSource,
    count_of_classes,
    position_keys,
)
from hadis_lightly.data.sets.download import checked_download, root_of
from hadis_lightly.text import describe_error

DEFAULT_STL10_PATH = Path("data") / "stl10"
_SIDE = 96
_IMAGE_BYTES = 3 * _SIDE * _SIDE
_NUM_CLASSES = 10
_UNLABELLED = "unlabeled_X.bin"
_SPLITS = {"train_X.bin": "train_y.bin", "test_X.bin": "test_y.bin"}


@dataclass(frozen=True, eq=False)
class BinarySource(ImageSource):
    """A source whose images lie one after the other in a few files, as in STL-10.

    None is held in memory: each is read from its place when it is asked for.

    Args:
        files: The files, each image 3 planes of 96 columns of 96 bytes.
        places: File and number of the image in it, int64 ``(n, 2)``.

    The other arguments are those of :class:`ImageSource`.
    """

    files: tuple[str, ...]
    places: NDArray[np.int64]

    def read(self, index: int) -> Image.Image:
        """Reads the image at ``index``.

        Raises:
            ImageReadError: if its file has become shorter, or cannot be read.
        """
        file, number = self.places[index].tolist()
        path = self.files[file]
        start = number * _IMAGE_BYTES
        try:
            pixels = np.fromfile(path, np.uint8, _IMAGE_BYTES, offset=start)
            if len(pixels) < _IMAGE_BYTES:
                raise EOFError(f"it ends before image {number:,}")
        except (OSError, EOFError) as error:
            reason = describe_error(error)
            raise ImageReadError(f"cannot read {path!r}: {reason}", reason) from error
        # Column after column: (channel, x, y) to (y, x, channel).
        planes = pixels.reshape(3, _SIDE, _SIDE).transpose(2, 1, 0)
        return Image.fromarray(np.ascontiguousarray(planes))

    def _rows(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        return {"places": self.places[indices]}


def load_stl10(
    path: str | Path = DEFAULT_STL10_PATH,
    download: bool = True,
    *,
    unlabelled: bool = False,
) -> BinarySource:
    """Loads STL-10, train and test merged as in the paper: 13,000 images.

    Args:
        path: Folder that holds ``stl10_binary`` with the files of the official archive,
            or into which they are downloaded (2.6 GB); or that folder.
        download: Whether to download the data if a file is missing.
        unlabelled: Whether to add the 100,000 images without a class. They come last,
            are for training alone (:attr:`ImageSource.training_only`), and have the
            target -1.

    Returns:
        The source: 96 x 96 colour images, the 5,000 of train first.

    Raises:
        DataError: if the data are not there and cannot be downloaded, or are damaged.
    """
    root = root_of(STL10, path)
    folder = root / STL10.base_folder
    names = [*_SPLITS, *([_UNLABELLED] if unlabelled else [])]
    _require(root, [*names, *_SPLITS.values()], download)
    counts = [_count_images(folder / name) for name in names]
    labels = [_targets(folder / name) for name in _SPLITS.values()]
    for name, count, part in zip(names, counts, labels, strict=False):
        if count != len(part):
            raise DataError(
                f"{str(folder / name)!r} holds {count:,} images, but "
                f"{_SPLITS[name]!r} holds {len(part):,} labels: one is damaged"
            )
    class_names = _class_names(folder / "class_names.txt")
    known = np.concatenate(labels)
    num_unlabelled = sum(counts) - len(known)
    more = f", and {num_unlabelled:,} unlabelled ones for training alone, never scored"
    targets = np.concatenate([known, np.full(num_unlabelled, -1)])
    places = [(file, i) for file, count in enumerate(counts) for i in range(count)]
    return BinarySource(
        name="stl10",
        class_names=class_names,
        targets=targets,
        keys=position_keys(len(targets)),
        description=(
            f"STL-10: train + test merged, {len(known):,} images, {_SIDE} x {_SIDE}, "
            f"{count_of_classes(known, class_names)}{more if unlabelled else ''}"
        ),
        num_channels=3,
        files=tuple(str(folder / name) for name in names),
        places=np.array(places),
        training_only=np.arange(len(targets)) >= len(known) if unlabelled else None,
    )


def _require(root: Path, names: list[str], download: bool) -> None:
    """Downloads the set if one of its files is missing."""
    folder = root / STL10.base_folder
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        with checked_download(STL10, root, "STL-10", "stl10", download):
            if not download:
                raise FileNotFoundError(f"no {str(folder / missing[0])!r}")
            STL10(root, download=True)


def _count_images(path: Path) -> int:
    size = path.stat().st_size
    if size == 0 or size % _IMAGE_BYTES:
        raise DataError(
            f"data file {str(path)!r} is damaged: {size:,} bytes, which are not images "
            f"of {_IMAGE_BYTES:,}"
        )
    return size // _IMAGE_BYTES


def _targets(path: Path) -> NDArray[np.int64]:
    """The classes from 0, which the file counts from 1."""
    labels = np.fromfile(path, np.uint8)
    wrong = labels[(labels < 1) | (labels > _NUM_CLASSES)]
    if len(wrong):
        raise DataError(
            f"labels in {str(path)!r} must be 1 to {_NUM_CLASSES}, got {wrong[0]}"
        )
    return labels.astype(np.int64) - 1


def _class_names(path: Path) -> tuple[str, ...] | None:
    """The names by class, None if there is no such file."""
    if not path.exists():
        return None
    names = path.read_text("utf-8", "replace").split()
    if len(names) != _NUM_CLASSES:
        raise DataError(
            f"data file {str(path)!r} must hold {_NUM_CLASSES} names, got {len(names)}"
        )
    return tuple(names)
