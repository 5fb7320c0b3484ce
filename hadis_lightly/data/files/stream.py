"""Images of a folder one after the other: a million take no more memory than a few."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Generic, NamedTuple, TypeVar

from PIL import Image

from hadis_lightly.data.errors import DataError, ImageReadError
from hadis_lightly.data.files.problems import ImageProblem
from hadis_lightly.data.files.reader import read_image
from hadis_lightly.data.files.walk import walk_images
from hadis_lightly.data.thread_map import map_stream
from hadis_lightly.text import in_utf8

R = TypeVar("R")


class StreamedImage(NamedTuple, Generic[R]):
    """One image of a stream."""

    key: str
    """Path relative to the folder, with ``/``."""
    path: str
    """Where the file is."""
    content: R | ImageProblem
    """What was made of it, or why it cannot be read."""


def stream_folder(
    root: str | Path,
    make: Callable[[Image.Image], R],
    *,
    num_channels: int = 3,
    num_threads: int = 4,
) -> Iterator[StreamedImage[R]]:
    """Reads the images below a folder in threads, a few at a time.

    Which files count, and which links are followed, is said in
    :func:`~hadis_lightly.data.load_folder`. Files of a folder come in the order of
    their names, as long as it has no more than 10,000 of them.

    Args:
        root: The folder.
        make: What is made of each image, in a thread.
        num_channels: 3 to read every image as RGB, 1 as grey.
        num_threads: Threads that read.

    Yields:
        Images, and what cannot be read.

    Raises:
        DataError: if ``root`` is no folder, or cannot be listed.
    """
    folder = _checked(root)

    def read(found: PurePath | ImageProblem) -> StreamedImage[R]:
        if isinstance(found, ImageProblem):
            return StreamedImage(found.key, str(folder / found.key), found)
        path, key = str(folder / found), in_utf8(found.as_posix())
        try:
            content = make(read_image(path, num_channels=num_channels))
        except ImageReadError as error:
            return StreamedImage(key, path, ImageProblem(key, error.reason))
        return StreamedImage(key, path, content)

    return map_stream(read, walk_images(folder, on_error="skip"), num_threads)


def count_images(root: str | Path) -> int:
    """Number of files below a folder that :func:`stream_folder` will try to read.

    Raises:
        DataError: if ``root`` is no folder, or cannot be listed.
    """
    found = walk_images(_checked(root), on_error="skip")
    return sum(not isinstance(image, ImageProblem) for image in found)


def _checked(root: str | Path) -> Path:
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"data folder {str(root)!r} {problem}")
    return folder
