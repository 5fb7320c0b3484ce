"""A folder of image files as a source, with the classes its subfolders give."""

from __future__ import annotations

import os
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hadis_lightly.data.errors import ImageProblem, ImageReadError
from hadis_lightly.data.files.decoded import DecodedImages
from hadis_lightly.data.files.folder_classes import label_images
from hadis_lightly.data.files.formats import describe_other_files, missing_packages
from hadis_lightly.data.files.reader import read_image, read_size, reduced_size
from hadis_lightly.data.files.walk import FoundImages
from hadis_lightly.data.image_source import ImageSource, count_of_classes
from hadis_lightly.text import in_utf8, printable

# Seconds before each further attempt to read a file.
_WAITS = (0.5, 2.0, 8.0)


@dataclass(frozen=True, eq=False)
class FolderSource(ImageSource):
    """A source that reads each image from its file when it is asked for.

    By index, as training does, it is read with patience: a file that the system cannot
    give for a moment, as from a network disk, is tried again for about 10 s.

    Args:
        root: The folder.
        files: The ``n`` image files, relative to it.
        left_out: Files and folders that were found but are not in the source.
        warnings: A line for each package that would read more of the files.
        sizes: Height and width of each image as it is read, int32 ``(n, 2)``, if known.
        min_side: Larger images are reduced until their shorter side has so many pixels;
            0 keeps every image as it is. See :func:`read_image`.
        decoded: The images themselves, if they have been decoded already.

    The other arguments are those of :class:`ImageSource`.
    """

    root: str
    files: list[str]
    left_out: tuple[ImageProblem, ...] = ()
    warnings: tuple[str, ...] = ()
    sizes: NDArray[np.int32] | None = None
    min_side: int = 0
    decoded: DecodedImages | None = None

    def path(self, index: int) -> str:
        """Path of the file at ``index``."""
        return os.path.join(self.root, self.files[index])

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Returns the image at ``index`` and its target, -1 if unknown.

        Raises:
            ImageReadError: See :meth:`read_patiently`.
        """
        target = int(self.targets[index])  # raises IndexError out of range
        return self.read_patiently(index), target

    def read_patiently(self, index: int) -> Image.Image:
        """Reads the image at ``index``; tries again if the system cannot give it.

        Raises:
            ImageReadError: if its file still cannot be read after several attempts,
                or at once if it is damaged, naming it.
        """
        for seconds in _WAITS:
            try:
                return self.read(index)
            except ImageReadError as error:
                if not is_momentary(error):
                    raise
            time.sleep(seconds)
        return self.read(index)

    def read(self, index: int) -> Image.Image:
        """Reads the image at ``index``, in one attempt.

        Raises:
            ImageReadError: if its file cannot be read, naming it.
        """
        if self.decoded is not None:
            return self.decoded.read(index)
        return read_image(self.path(index), self.num_channels, self.min_side)

    def read_size(self, index: int) -> tuple[int, int]:
        """Width and height that the image at ``index`` will have, from its header.

        Raises:
            ImageReadError: if it has none that can be read, naming its file.
        """
        return reduced_size(read_size(self.path(index)), self.min_side)

    def _rows(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        return {
            "files": [self.files[index] for index in indices],
            "sizes": None if self.sizes is None else self.sizes[indices],
            "decoded": None if self.decoded is None else self.decoded.rows(indices),
        }


def is_momentary(error: ImageReadError) -> bool:
    """Whether another attempt may succeed: the system failed, and no decoder."""
    cause = error.__cause__
    # Errors of the system have a number, those of decoders have none.
    is_of_system = getattr(cause, "errno", None) is not None
    return is_of_system or isinstance(cause, MemoryError)


def load_folder(
    root: str | Path,
    num_channels: int = 3,
    *,
    on_error: str = "raise",
    follow_links: bool = False,
) -> FolderSource:
    """Finds the images below a folder; none is opened yet.

    The folder directly below ``root`` in which an image lies, however deep, is its
    class; an image directly in ``root`` has none (-1). Folders directly below ``root``
    that are called like splits (``train``, ``test``, ..., in any case) are merged, if
    there are two of them or no others hold images; the folders below them and below
    those beside them are then the classes.

    Where a file ``metadata.csv``, ``.jsonl`` or ``.parquet``, in ``root`` or in a
    folder directly below it, has a column ``file_name`` and one of labels (see
    :func:`load_images`), they are the classes in that folder, and images that it does
    not list have none. The description names such files, and says why one is not used:
    it cannot be read, lists none of the images, or gives one two classes.

    If there are no image files, those in Parquet and Arrow tables are taken. Tables of
    paths are not read here.

    Files count as images by their suffix, in any case. Hidden files and folders are
    skipped, and so are folders of this package's results. The order is that of the
    relative paths, by code point after Unicode normalisation: the same on every file
    system.

    Nothing outside the folder is read, unless ``follow_links`` is set. A link is
    followed if its target lies below ``root`` as well, with the exceptions of
    :func:`find_images`; all others are listed in :attr:`FolderSource.left_out`.
    ``root`` may be a link itself.

    Args:
        root: The folder.
        num_channels: 3 to read every image as RGB, 1 as grey.
        on_error: ``raise`` if a folder cannot be listed, or ``skip`` it.
        follow_links: Whether to follow links that lead out of the folder, too.

    Returns:
        The source; its keys are the paths relative to ``root``, with ``/``.

    Raises:
        DataError: if ``root`` is missing, not a folder, unreadable, without images, or
            the folder of a run.
    """
    root = os.path.expanduser(root)
    images = label_images(root, on_error, follow_links)
    name = printable(os.path.basename(os.path.realpath(root)))
    return source_of_files(
        images.found,
        images.labels,
        note=images.note,
        root=root,
        title=f"folder {name}",
        num_channels=num_channels,
    )


def source_of_files(
    found: FoundImages,
    labels: Sequence[str],
    *,
    note: str = "",
    root: str,
    title: str,
    num_channels: int,
) -> FolderSource:
    """The source of some files.

    Args:
        found: The files, relative to ``root``, and what lies beside them.
        labels: Name of the class of each file, empty if unknown.
        note: What the description says of the images.
        root: Folder of the files.
        title: First words of the description.
        num_channels: 3 to read every image as RGB, 1 as grey.
    """
    names = sorted(set(labels) - {""})
    class_names = tuple(sorted(names, key=partial(unicodedata.normalize, "NFC")))
    numbers = {name: number for number, name in enumerate(class_names)}
    targets = np.array([numbers.get(name, -1) for name in labels], np.int64)
    return FolderSource(
        name="folder",
        class_names=class_names or None,
        targets=targets,
        keys=[in_utf8(file) for file in found.files],
        description=(
            f"{title}: {len(targets):,} images{note}, "
            f"{count_of_classes(targets, class_names)}{describe_rest([found])}"
        ),
        num_channels=num_channels,
        root=root,
        files=found.files,
        left_out=tuple(found.left_out),
        warnings=tuple(missing_packages(found.others)),
    )


def describe_rest(folders: Sequence[FoundImages]) -> str:
    """The end of a description: what lies in folders beside the images that are read.

    For example ``; 3 entries left out; 12 other files not read: 12 .txt``, or
    nothing.
    """
    num_left_out = sum(len(found.left_out) for found in folders)
    kinds = "entry" if num_left_out == 1 else "entries"
    others: Counter[str] = sum((found.others for found in folders), Counter())
    parts = [
        f"{num_left_out:,} {kinds} left out" if num_left_out else "",
        describe_other_files(others),
    ]
    return "".join(f"; {part}" for part in parts if part)
