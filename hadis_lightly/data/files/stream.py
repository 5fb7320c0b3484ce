"""Reads all images of a source in threads, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from PIL import Image

from hadis_lightly.data.errors import ImageProblem, ImageReadError
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.thread_map import Progress, thread_map

R = TypeVar("R")


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
