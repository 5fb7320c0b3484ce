"""A folder of image files as a source, with the classes its subfolders give."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.files.problems import (
    ImageProblem,
    check_on_error,
    list_problems,
)
from hadis_lightly.data.files.reader import IMAGE_SUFFIXES, read_image
from hadis_lightly.data.files.walk import find_images
from hadis_lightly.data.image_source import ImageSource, count_of_classes
from hadis_lightly.text import in_utf8, printable

SPLIT_NAMES = frozenset({"train", "test", "val", "valid"})


@dataclass(frozen=True, eq=False)
class FolderSource(ImageSource):
    """A source that reads its images from files, each when it is asked for.

    Args:
        paths: The ``n`` image files.
        left_out: Files and folders that were found but are no part of the source.
        sizes: Height and width of each image, int32 ``(n, 2)``, where they are known.

    The other arguments are those of :class:`ImageSource`.
    """

    paths: list[str]
    left_out: tuple[ImageProblem, ...] = ()
    sizes: NDArray[np.int32] | None = None

    def read(self, index: int) -> Image.Image:
        """Reads the image at ``index``.

        Raises:
            ImageReadError: if its file cannot be read, naming it.
        """
        return read_image(self.paths[index], num_channels=self.num_channels)

    def _rows(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        return {
            "paths": [self.paths[index] for index in indices],
            "sizes": None if self.sizes is None else self.sizes[indices],
        }


def load_folder(
    root: str | Path, num_channels: int = 3, *, on_error: str = "raise"
) -> FolderSource:
    """Finds the images below a folder; none is opened yet.

    One rule gives the targets: the folder directly below ``root`` in which an image
    lies, however deep, is its class, and an image directly in ``root`` has none (-1).
    So the ImageFolder layout, a flat folder and a mixture of both are read as they
    are. When all folders directly below it that hold images are called train, test, val
    or valid, they are splits, not classes: merged, and the same holds below each.

    Files count as images by their suffix, in any case (:data:`IMAGE_SUFFIXES`). Hidden
    files and folders are skipped. The order is that of the relative paths, by code
    point after Unicode normalisation: the same on every file system.

    Nothing outside the folder is read. A link is followed if what it leads to lies
    below ``root`` as well: then the image has this name too. All others, those back
    into a folder that they lie in, and those to folders within linked folders are
    listed in :attr:`FolderSource.left_out`. ``root`` may be a link itself.

    Args:
        root: The folder.
        num_channels: 3 to read every image as RGB, 1 as grey.
        on_error: ``skip`` leaves out folders that cannot be listed, or ``raise``.

    Returns:
        The source; its keys are the paths relative to ``root``, with ``/``.

    Raises:
        DataError: if ``root`` is missing, no folder, not readable, or holds no image.
    """
    check_on_error(on_error)
    root = Path(os.path.expanduser(root))
    found, left_out = _images_below(root, on_error)
    top = {path.parts[0] for path in found if len(path.parts) > 1}
    splits = top if {name.lower() for name in top} <= SPLIT_NAMES else set()
    labels = [_class_of(path, splits) for path in found]
    class_names = tuple(sorted({name for name in labels if name}, key=_normalized))
    numbers = {name: number for number, name in enumerate(class_names)}
    targets = np.array([numbers.get(name or "", -1) for name in labels], np.int64)
    return FolderSource(
        name="folder",
        class_names=class_names or None,
        targets=targets,
        keys=[in_utf8(path.as_posix()) for path in found],
        protocol=_protocol(root, targets, class_names, splits, left_out),
        num_channels=num_channels,
        paths=[str(root / path) for path in found],
        left_out=left_out,
    )


def _images_below(
    root: Path, on_error: str
) -> tuple[list[PurePath], tuple[ImageProblem, ...]]:
    """Finds the images below ``root`` in their order, and what is left out.

    Args:
        root: The folder.
        on_error: As in :func:`load_folder`.

    Returns:
        Paths relative to ``root``, at least one, and the rest.

    Raises:
        DataError: as in :func:`load_folder`.
    """
    if not os.path.isdir(root):
        problem = "is not a folder" if os.path.exists(root) else "does not exist"
        raise DataError(f"data folder {str(root)!r} {problem}")
    images, left_out = find_images(root, on_error)
    left_out.sort()
    if not images:
        others = f"; left out: {list_problems(left_out)}" if left_out else ""
        raise DataError(
            f"no images in data folder {str(root)!r}: looked in all its subfolders for "
            f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))}{others}"
        )
    return sorted(images, key=path_order), tuple(left_out)


def _class_of(path: PurePath, splits: set[str]) -> str | None:
    """The name of the class folder of an image, or ``None`` if it lies in none."""
    folders = path.parts[:-1]
    if folders and folders[0] in splits:
        folders = folders[1:]
    return in_utf8(folders[0]) if folders else None


def _protocol(
    root: Path,
    targets: NDArray[np.int64],
    class_names: tuple[str, ...],
    splits: set[str],
    left_out: Sequence[ImageProblem],
) -> str:
    merged = f" ({' + '.join(sorted(splits))} merged)" if splits else ""
    others = f"; {len(left_out):,} left out" if left_out else ""
    return (
        f"folder {_name_of(root)}: {len(targets):,} images{merged}, "
        f"{count_of_classes(targets, class_names)}{others}"
    )


def _name_of(root: Path) -> str:
    return printable(os.path.basename(os.path.realpath(root)))


def _normalized(text: str) -> tuple[str, str]:
    # File systems spell an accented letter in one or in two code points.
    return unicodedata.normalize("NFC", text), text


def path_order(path: PurePath) -> list[tuple[str, str]]:
    """What paths are sorted by: the same on every file system."""
    return [_normalized(part) for part in path.parts]
