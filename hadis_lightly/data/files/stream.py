"""Reads all images of a source in threads, and finds those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from hadis_lightly.data.errors import (
    ImageProblem,
    ImageReadError,
    check_on_error,
    list_problems,
)
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.thread_map import Progress, thread_map

R = TypeVar("R")

#: Levels of 255 that the pixels of a set span at least, unless they are scaled wrongly.
_LEAST_RANGE = 64


class StreamedImage(NamedTuple, Generic[R]):
    """One image of a stream."""

    key: str
    """Its key in the source."""
    path: str
    """Path of its file; empty if it has none of its own."""
    content: R | ImageProblem
    """What was made of it, or why it cannot be read."""


def stream_images(
    source: ImageSource,
    make: Callable[[Image.Image], R],
    num_threads: int = 4,
    progress: Progress | None = None,
) -> Iterator[StreamedImage[R]]:
    """Reads the images of a source in their order, a few at a time.

    Args:
        source: The source.
        make: Applied to each image, in a thread.
        num_threads: Threads that read and decode.
        progress: Called with the number of images read and the number of all.
    """

    def read(index: int) -> StreamedImage[R]:
        key = source.keys[index]
        path = source.path(index) if isinstance(source, FolderSource) else ""
        try:
            return StreamedImage(key, path, make(source.read(index)))
        except ImageReadError as error:
            return StreamedImage(key, path, ImageProblem(key, error.reason))

    return thread_map(read, len(source), num_threads, progress)


def readable_images(
    source: ImageSource,
    *,
    on_error: str = "raise",
    num_threads: int = 4,
    progress: Progress | None = None,
) -> ImageSource:
    """Decodes every image of a folder once, and leaves out those that fail.

    The result lists them in :attr:`FolderSource.left_out` and knows the size of every
    image, so that :func:`common_size` is exact. Classes keep their numbers and names,
    even without images. A source of another kind is returned as it is.

    Args:
        source: The source.
        on_error: ``raise`` if files cannot be read, or ``skip`` them.
        num_threads: Threads that read and decode.
        progress: Called with the number of images read and the number of all.

    Raises:
        ImageReadError: if files cannot be read and ``on_error`` is ``raise``, or if
            none can be read; after all have been tried, naming the first few.
        DataError: if ``on_error`` is something else.
    """
    check_on_error(on_error)
    if not isinstance(source, FolderSource):
        return source
    n = len(source)
    sizes = np.zeros((n, 2), dtype=np.int32)
    bad: dict[int, ImageProblem] = {}
    low, high = 255, 0
    images = stream_images(source, _size_and_range, num_threads, progress)
    for index, image in enumerate(images):
        if isinstance(image.content, ImageProblem):
            bad[index] = image.content
        else:
            (width, height), lowest, highest = image.content
            sizes[index] = height, width
            low, high = min(low, lowest), max(high, highest)
    left_out = tuple(sorted([*source.left_out, *bad.values()]))
    description = source.description
    if 0 < high - low < _LEAST_RANGE:
        description += (
            f"; all pixels lie between {low} and {high} of 255: scale them first if "
            "the files hold 10 or 12 bits in 16"
        )
    checked = replace(source, sizes=sizes, left_out=left_out, description=description)
    if not bad:
        return checked
    listed = list_problems(list(bad.values()))
    names = f"{len(bad):,} of {n:,} images cannot be read: {listed}"
    if len(bad) == n:
        raise ImageReadError(f"no image is left: {names}")
    if on_error == "raise":
        raise ImageReadError(f"{names}; data.on_error=skip leaves them out")
    good = np.setdiff1d(np.arange(n), list(bad))
    note = f"{len(bad):,} of them left out, which cannot be read"
    return checked.subset(good, note)


def _size_and_range(image: Image.Image) -> tuple[tuple[int, int], int, int]:
    """Width and height, and the least and largest value of a pixel."""
    levels = np.ravel(image.getextrema())
    return image.size, int(levels.min()), int(levels.max())
