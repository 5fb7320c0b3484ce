"""A folder of image files as a source, with the classes its subfolders give."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.image_reader import IMAGE_SUFFIXES, read_image
from hadis_lightly.data.image_source import ImageSource, count_of_classes

SPLIT_NAMES = frozenset({"train", "test", "val", "valid"})


@dataclass(frozen=True, eq=False)
class FolderSource(ImageSource):
    """A source that reads its images from files, each when it is asked for.

    Args:
        paths: The ``n`` image files.

    The other arguments are those of :class:`ImageSource`.
    """

    paths: list[str]

    def read(self, index: int) -> Image.Image:
        """Reads the image at ``index``.

        Raises:
            ImageReadError: if its file cannot be read, naming it.
        """
        return read_image(self.paths[index], num_channels=self.num_channels)

    def _rows(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        return {"paths": [self.paths[index] for index in indices]}


def load_folder(root: str | Path, num_channels: int = 3) -> FolderSource:
    """Finds the images below a folder; none is opened yet.

    One rule gives the targets: the folder directly below ``root`` in which an image
    lies, however deep, is its class, and an image directly in ``root`` has none (-1).
    So the ImageFolder layout, a flat folder and a mixture of both are read as they
    are. When all folders directly below ``root`` that hold images are called train,
    test, val or valid, they are splits, not classes: they are merged, and the same rule
    holds below each of them.

    Files count as images by their suffix, in any case (:data:`IMAGE_SUFFIXES`). Hidden
    files and folders are skipped. Links to folders are followed, but not back into a
    folder that they lie in. The order is that of the relative paths, by code point
    after Unicode normalisation: the same on every file system.

    Args:
        root: The folder.
        num_channels: 3 to read every image as RGB, 1 as grey.

    Returns:
        The source; its keys are the paths relative to ``root``, with ``/``.

    Raises:
        DataError: if ``root`` is missing, no folder, not readable, or holds no image.
    """
    root = Path(root).expanduser()
    found = _images_below(root)
    top = {path.parts[0] for path in found if len(path.parts) > 1}
    splits = top if {name.lower() for name in top} <= SPLIT_NAMES else set()
    labels = [_class_of(path, splits) for path in found]
    class_names = tuple(sorted({name for name in labels if name}, key=_normalized))
    numbers: dict[str | None, int] = {None: -1}
    numbers.update((name, number) for number, name in enumerate(class_names))
    targets = np.array([numbers[name] for name in labels], dtype=np.int64)
    return FolderSource(
        name="folder",
        class_names=class_names or None,
        targets=targets,
        keys=[_printable(path.as_posix()) for path in found],
        protocol=_protocol(root, targets, class_names, splits),
        num_channels=num_channels,
        paths=[str(root / path) for path in found],
    )


def _images_below(root: Path) -> list[PurePath]:
    """The images below ``root`` in their order, at least one."""
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"data folder {str(root)!r} {problem}")
    found = sorted(_find_images(root, ()), key=_order)
    if not found:
        raise DataError(
            f"no images in data folder {str(root)!r}: looked in all its subfolders for "
            f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return found


def _find_images(folder: Path, above: tuple[str, ...]) -> Iterator[PurePath]:
    """Yields the images below ``folder``, as paths relative to it.

    ``above`` holds the real paths of the folders that ``folder`` lies in.
    """
    real_path = os.path.realpath(folder)
    if real_path in above:
        return  # a link back to where we came from
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(
            f"cannot list data folder {str(folder)!r}: {error.strerror}"
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            for path in _find_images(Path(entry.path), (*above, real_path)):
                yield PurePath(entry.name) / path
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
            yield PurePath(entry.name)


def _class_of(path: PurePath, splits: set[str]) -> str | None:
    """The name of the class folder of an image, or ``None`` if it lies in none."""
    folders = path.parts[:-1]
    if folders and folders[0] in splits:
        folders = folders[1:]
    return _printable(folders[0]) if folders else None


def _protocol(
    root: Path,
    targets: NDArray[np.int64],
    class_names: tuple[str, ...],
    splits: set[str],
) -> str:
    merged = f" ({' + '.join(sorted(splits))} merged)" if splits else ""
    return (
        f"folder {root.resolve().name}: {len(targets):,} images{merged}, "
        f"{count_of_classes(targets, class_names)}"
    )


def _normalized(text: str) -> tuple[str, str]:
    # File systems spell an accented letter in one or in two code points.
    return unicodedata.normalize("NFC", text), text


def _order(path: PurePath) -> list[tuple[str, str]]:
    return [_normalized(part) for part in path.parts]


def _printable(text: str) -> str:
    """Text that can be written as UTF-8, also from a file name that is not."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
