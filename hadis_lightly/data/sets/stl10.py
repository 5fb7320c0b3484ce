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
from hadis_lightly.data.sets.download import require_files, root_of
from hadis_lightly.text import in_utf8, one_line

DEFAULT_STL10_PATH = Path("data") / "stl10"
_SIDE = 96
_IMAGE_BYTES = 3 * _SIDE * _SIDE
_NUM_CLASSES = 10
_UNLABELLED = "unlabeled_X.bin"
_NAMES = "class_names.txt"


@dataclass(frozen=True, eq=False)
class BinarySource(ImageSource):
    """A source whose images lie one after the other in a few files, as in STL-10.

    None is held in memory: each is read from its place when it is asked for, by workers
    as well as by threads.

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
        try:
            with open(path, "rb") as stream:
                stream.seek(number * _IMAGE_BYTES)
                content = stream.read(_IMAGE_BYTES)
        except OSError as error:
            reason = error.strerror or one_line(str(error))
            raise ImageReadError(f"cannot read {path!r}: {reason}", reason) from error
        if len(content) < _IMAGE_BYTES:
            reason = f"it ends before image {number:,}"
            raise ImageReadError(f"cannot read {path!r}: {reason}", reason)
        planes = np.frombuffer(content, np.uint8).reshape(3, _SIDE, _SIDE)
        # Column after column: (channel, x, y) to (y, x, channel).
        return Image.fromarray(np.ascontiguousarray(planes.transpose(2, 1, 0)))

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
        The source: 96 x 96 colour images, the 5,000 of train first. They stay on the
        disk until they are read.

    Raises:
        DataError: if the data are not there and cannot be downloaded, or are damaged.
    """
    root = root_of(STL10, path)
    folder = root / STL10.base_folder
    images = ["train_X.bin", "test_X.bin"]
    labels = ["train_y.bin", "test_y.bin"]
    names = [*images, *labels, *([_UNLABELLED] if unlabelled else [])]
    require_files(STL10, root, names, download, "stl10")
    parts = [_targets(folder / name) for name in labels]
    for name, part, labels_name in zip(images, parts, labels, strict=True):
        count = _count_images(folder / name)
        if count != len(part):
            raise DataError(
                f"data file {str(folder / name)!r} holds {count:,} images, but "
                f"{labels_name!r} beside it {len(part):,} labels: one of them is "
                "damaged; replace them by whole ones"
            )
    class_names = _class_names(folder / _NAMES)
    known = np.concatenate(parts)
    protocol = (
        f"STL-10: train + test merged, {len(known):,} images, {_SIDE} x {_SIDE}, "
        f"{count_of_classes(known, class_names)}"
    )
    if unlabelled:
        count = _count_images(folder / _UNLABELLED)
        images.append(_UNLABELLED)
        parts.append(np.full(count, -1))
        protocol += f", and {count:,} unlabelled ones for training alone, never scored"
    targets = np.concatenate(parts)
    numbers = [(file, i) for file, part in enumerate(parts) for i in range(len(part))]
    return BinarySource(
        name="stl10",
        class_names=class_names,
        targets=targets,
        keys=position_keys(len(targets)),
        protocol=protocol,
        num_channels=3,
        files=tuple(str(folder / name) for name in images),
        places=np.array(numbers, dtype=np.int64).reshape(-1, 2),
        training_only=np.arange(len(targets)) >= len(known) if unlabelled else None,
    )


def _count_images(path: Path) -> int:
    size = _size(path)
    if size == 0 or size % _IMAGE_BYTES:
        raise DataError(
            f"data file {str(path)!r} is damaged: {size:,} bytes, which are not images "
            f"of {_IMAGE_BYTES:,}; replace it by a whole one"
        )
    return size // _IMAGE_BYTES


def _targets(path: Path) -> NDArray[np.int64]:
    """The classes from 0, which the file counts from 1."""
    labels = np.frombuffer(_content(path), np.uint8)
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
    names = _content(path).decode("utf-8", "replace").split()
    if len(names) != _NUM_CLASSES:
        raise DataError(
            f"data file {str(path)!r} must hold {_NUM_CLASSES} names, got {len(names)}"
        )
    return tuple(map(in_utf8, names))


def _size(path: Path) -> int:
    if not path.is_file():
        raise DataError(f"data file {str(path)!r} is no file")
    return path.stat().st_size


def _content(path: Path, most: int = 1 << 20) -> bytes:
    size = _size(path)
    if size > most:
        raise DataError(
            f"data file {str(path)!r} is damaged: {size:,} bytes, more than {most:,}"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot open data file {str(path)!r}: {error.strerror}"
        ) from error
