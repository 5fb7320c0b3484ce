"""Images of a source one after the other, with few of them in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from PIL import Image

from hadis_lightly.data.errors import ImageReadError
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.files.problems import ImageProblem
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.thread_map import Progress, thread_map

R = TypeVar("R")


class StreamedImage(NamedTuple, Generic[R]):
    """One image of a stream."""

    key: str
    """Its key in the source."""
    path: str
    """Where its file is; empty if it has none of its own."""
    content: R | ImageProblem
    """What was made of it, or why it cannot be read."""


def stream_images(
    source: ImageSource,
    make: Callable[[Image.Image], R],
    num_threads: int = 4,
    progress: Progress | None = None,
) -> Iterator[StreamedImage[R]]:
    """Reads the images of a source in threads, in their order.

    Args:
        source: The source.
        make: What is made of each image, in a thread.
        num_threads: Threads that read.
        progress: Called with how many images are done and how many there are.

    Yields:
        Every image, or why it cannot be read.
    """

    def read(index: int) -> StreamedImage[R]:
        key = source.keys[index]
        path = source.path(index) if isinstance(source, FolderSource) else ""
        try:
            return StreamedImage(key, path, make(source.read(index)))
        except ImageReadError as error:
            return StreamedImage(key, path, ImageProblem(key, error.reason))

    return thread_map(read, len(source), num_threads, progress)
