"""All images of a source in one array, where they are of one size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hadis_lightly.data.errors import ImageSizeError
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.image_source import ArraySource, ImageSource
from hadis_lightly.data.thread_map import Progress, thread_map

# Images looked at before all are read.
_SAMPLE = 32


def common_size(source: ImageSource) -> tuple[int, int] | None:
    """Height and width of the images of a source, None if they differ.

    Of images in files only a sample is looked at, unless :func:`readable_images` has
    seen them all.

    Raises:
        ImageReadError: If one of them cannot be read.
    """
    if isinstance(source, ArraySource):
        return source.images.shape[1], source.images.shape[2]
    if isinstance(source, FolderSource) and source.sizes is not None:
        height, width = source.sizes[0].tolist()
        return (height, width) if (source.sizes == source.sizes[0]).all() else None
    n = len(source)
    chosen = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int))
    sizes = {source.read(int(index)).size for index in chosen}
    if len(sizes) > 1:
        return None
    width, height = sizes.pop()
    return height, width


def stack_images(
    source: ImageSource,
    num_threads: int = 4,
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """Reads all images into one array.

    Args:
        source: The source; an :class:`ArraySource` has the array already.
        num_threads: Threads that read and decode.
        progress: Called with how many images are read and how many there are.

    Returns:
        uint8 ``(n, h, w, c)``.

    Raises:
        ImageSizeError: If two images differ in size, naming them.
        ImageReadError: If one cannot be read.
    """
    if isinstance(source, ArraySource):
        return source.images
    first = np.asarray(source.read(0))
    shape = (*first.shape[:2], source.num_channels)
    images = np.empty((len(source), *shape), dtype=np.uint8)

    def read(index: int) -> None:
        pixels = np.asarray(source.read(index))
        if pixels.shape[:2] != shape[:2]:
            sizes = [
                f"{width} x {height}" for height, width, *_ in (shape, pixels.shape)
            ]
            raise ImageSizeError(
                f"images differ in size: {source.keys[0]!r} is {sizes[0]} pixels, "
                f"{source.keys[index]!r} is {sizes[1]}"
            )
        images[index] = pixels.reshape(shape)

    for _ in thread_map(read, len(source), num_threads, progress):
        pass
    return images
