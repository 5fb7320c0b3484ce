"""All images of a source: their size, their pixels, their hash, how many differ."""

from __future__ import annotations

import hashlib
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hadis_lightly.data.errors import ImageSizeError
from hadis_lightly.data.files.checking import files_key
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.image_source import ArraySource, ImageSource
from hadis_lightly.data.thread_map import Progress, thread_map

# Number of images that common_size looks at.
_SAMPLE = 32


def common_size(source: ImageSource) -> tuple[int, int] | None:
    """Height and width of the images of a source, None if they differ.

    Of images in files only a sample is looked at, unless :func:`readable_images` has
    seen them all.

    Raises:
        ImageReadError: if one of them cannot be read.
    """
    if isinstance(source, ArraySource):
        return source.images.shape[1], source.images.shape[2]
    if isinstance(source, FolderSource) and source.sizes is not None:
        sizes = {(height, width) for height, width in source.sizes.tolist()}
    else:
        n = len(source)
        chosen = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int))
        sizes = {source.read(int(index)).size[::-1] for index in chosen}
    return sizes.pop() if len(sizes) == 1 else None


def stack_images(
    source: ImageSource,
    num_threads: int = 4,
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """Reads all images into one array.

    Args:
        source: The source; images that are in memory already are not copied if they lie
            side by side.
        num_threads: Threads that read and decode.
        progress: Called with the number of images read and the number of all.

    Returns:
        uint8 ``(n, h, w, c)``.

    Raises:
        ImageSizeError: if two images differ in size, naming them.
        ImageReadError: if one cannot be read.
    """
    if isinstance(source, ArraySource):
        return source.images
    if isinstance(source, FolderSource) and source.decoded is not None:
        stacked = source.decoded.stacked()
        if stacked is not None:
            return stacked
    width, height = source.read(0).size
    shape = (height, width, source.num_channels)
    images = np.empty((len(source), *shape), dtype=np.uint8)

    def read(index: int) -> None:
        image = source.read(index)
        if image.size != (width, height):
            raise ImageSizeError(
                f"images differ in size: {source.keys[0]!r} is {width} x {height} "
                f"pixels, {source.keys[index]!r} is {image.width} x {image.height}"
            )
        images[index] = np.asarray(image).reshape(shape)

    for _ in thread_map(read, len(source), num_threads, progress):
        pass
    return images


def count_distinct(source: ImageSource, enough: int, num_threads: int = 4) -> int:
    """Counts images that differ in size or in a pixel, until there are enough.

    Args:
        source: The source.
        enough: Where to stop, at least 1.
        num_threads: Threads that read and decode.

    Returns:
        The number of different images, at most ``enough``.

    Raises:
        ImageReadError: if one of those that are looked at cannot be read.

    Example:
        >>> from hadis_lightly.data import load_digits
        >>> count_distinct(load_digits(), enough=10)
        10
    """
    seen: set[bytes] = set()
    digest = partial(image_digest, source)
    for value in thread_map(digest, len(source), num_threads):
        seen.add(value)
        if len(seen) == enough:
            break
    return len(seen)


def images_key(source: ImageSource, num_threads: int = 4) -> str:
    """A hash of the images of a source, in their order: 32 hexadecimal digits.

    Args:
        source: The source. Of images in files, the files count: path, size, times and a
            part of the contents; of others every pixel.
        num_threads: Threads that read.

    Raises:
        ImageReadError: if an image cannot be read.

    Example:
        >>> from hadis_lightly.data import load_digits
        >>> images_key(load_digits()) == images_key(load_digits())
        True
    """
    if isinstance(source, FolderSource):
        return files_key(source, num_threads)
    of_all = hashlib.sha256()
    for digest in thread_map(partial(image_digest, source), len(source), num_threads):
        of_all.update(digest)
    return of_all.hexdigest()[:32]


def image_digest(source: ImageSource, index: int) -> bytes:
    """A hash of one image: its size and its pixels."""
    image = source.read(index)
    content = hashlib.blake2b(image.tobytes(), digest_size=16)
    content.update(repr(image.size).encode("ascii"))
    return content.digest()
