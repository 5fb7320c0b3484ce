"""Reads all images of a source in threads, and finds those that cannot be read."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from hadis_lightly.atomic import atomic_write
from hadis_lightly.data.errors import (
    ImageProblem,
    ImageReadError,
    check_on_error,
    list_problems,
)
from hadis_lightly.data.files.decoded import DecodedImages, PixelCache
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.files.pixels import PixelRange
from hadis_lightly.data.files.reader import open_file
from hadis_lightly.data.files.tables import containing_file
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.thread_map import Progress, thread_map

R = TypeVar("R")

# Bytes of the beginning and of the end of a file that tell it from another.
_NUM_BYTES = 4096


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


@dataclass
class _Found:
    """What a look at all ``n`` images of a source has found."""

    sizes: NDArray[np.int32]
    """Height and width of each, ``(n, 2)``; 0 of those that cannot be read."""
    problems: dict[int, str] = field(default_factory=dict)
    """Why an image cannot be read."""
    range: PixelRange = field(default_factory=PixelRange)
    """That of all pixels; empty if only headers were read."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The same as arrays."""
        return {
            "sizes": self.sizes,
            "bad": np.array(list(self.problems), dtype=np.int64),
            "reasons": np.array(list(self.problems.values()), dtype=np.str_),
            "levels": np.array(sorted(self.range.levels), dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> _Found:
        """From what :meth:`to_arrays` has made."""
        bad, reasons = arrays["bad"].tolist(), arrays["reasons"].tolist()
        problems = dict(zip(bad, reasons, strict=True))
        return cls(arrays["sizes"], problems, PixelRange(arrays["levels"].tolist()))


def readable_images(
    source: ImageSource,
    *,
    on_error: str = "raise",
    headers_only: bool = False,
    num_threads: int = 4,
    progress: Progress | None = None,
) -> ImageSource:
    """Looks at every image of a folder once, and leaves out those that fail.

    The result lists them in :attr:`FolderSource.left_out` and knows the size of every
    image, so that :func:`common_size` is exact. Classes keep their numbers and names,
    even without images. A source of another kind is returned as it is.

    Args:
        source: The source.
        on_error: ``raise`` if files cannot be read, or ``skip`` them.
        headers_only: Whether to read headers only and decode nothing. Damaged pixels
            are then found when an image is asked for.
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
    if headers_only:
        found = _read_headers(source, num_threads, progress)
    else:
        found = _decode(source, num_threads, progress)
    return _without_bad(source, found, on_error)


def decoded_images(
    source: FolderSource,
    cache: PixelCache | None = None,
    *,
    on_error: str = "raise",
    num_threads: int = 4,
    progress: Progress | None = None,
) -> FolderSource:
    """:func:`readable_images` that keeps the pixels of all images.

    Args:
        source: The source; see :attr:`FolderSource.min_side`.
        cache: Where to keep them; by default in memory. Of several processes one
            decodes, and the others wait.
        on_error: See :func:`readable_images`.
        num_threads: Threads that read and decode.
        progress: Called with the number of images read and the number of all.

    Returns:
        The source, which reads no file any more.

    Raises:
        ImageReadError: See :func:`readable_images`.
        OSError: If the cache cannot be written; if the disk is full, for one.
    """
    check_on_error(on_error)
    pixels: memoryview | Path
    if cache is None:
        memory = io.BytesIO()
        found = _decode(source, num_threads, progress, memory)
        pixels = memory.getbuffer()
    else:
        key = _cache_key(source, num_threads)
        pixels = cache.pixels(key)
        with cache.locked(key):
            index = cache.load_index(key)
            if index is not None:
                found = _Found.from_arrays(index)
            else:
                with atomic_write(pixels, "wb") as file:
                    found = _decode(source, num_threads, progress, file)
                cache.save_index(key, found.to_arrays())
    decoded = DecodedImages.side_by_side(pixels, found.sizes, source.num_channels)
    return _without_bad(replace(source, decoded=decoded), found, on_error)


def _decode(
    source: FolderSource,
    num_threads: int,
    progress: Progress | None,
    file: IO[bytes] | None = None,
) -> _Found:
    """Decodes all images, and writes their pixels one after the other to a file."""
    found = _Found(np.zeros((len(source), 2), dtype=np.int32))

    def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
        found.range.add(image)
        return np.ascontiguousarray(image)

    images = stream_images(source, pixels_of, num_threads, progress)
    for index, (_, _, pixels) in enumerate(images):
        if isinstance(pixels, ImageProblem):
            found.problems[index] = pixels.reason
            continue
        found.sizes[index] = pixels.shape[:2]
        if file is not None:
            file.write(pixels.data)
    return found


def _read_headers(
    source: FolderSource, num_threads: int, progress: Progress | None
) -> _Found:
    def read(index: int) -> tuple[int, int] | str:
        try:
            return source.read_size(index)
        except ImageReadError as error:
            return error.reason

    found = _Found(np.zeros((len(source), 2), dtype=np.int32))
    for index, size in enumerate(thread_map(read, len(source), num_threads, progress)):
        if isinstance(size, str):
            found.problems[index] = size
        else:
            found.sizes[index] = size[::-1]
    return found


def _without_bad(source: FolderSource, found: _Found, on_error: str) -> FolderSource:
    """The source without images that cannot be read; raises if there may be none."""
    n = len(source)
    bad = [ImageProblem(source.keys[i], why) for i, why in found.problems.items()]
    left_out = tuple(sorted([*source.left_out, *bad]))
    description = "; ".join(filter(None, [source.description, found.range.describe()]))
    checked = replace(
        source, sizes=found.sizes, left_out=left_out, description=description
    )
    if not bad:
        return checked
    names = f"{len(bad):,} of {n:,} images cannot be read: {list_problems(bad)}"
    if len(bad) == n:
        raise ImageReadError(f"no image is left: {names}")
    if on_error == "raise":
        raise ImageReadError(f"{names}; data.on_error=skip leaves them out")
    good = np.setdiff1d(np.arange(n), list(found.problems))
    note = f"{len(bad):,} image{'s' * (len(bad) > 1)} left out, which cannot be read"
    return checked.subset(good, note)


def _cache_key(source: FolderSource, num_threads: int) -> str:
    """A hash of what pixels depend on: the contents of files, and how they are read.

    Of a file, its size, its time and a part of its contents count.
    """

    def identity(index: int) -> str:
        path = source.path(index)
        try:
            time = os.stat(containing_file(path)).st_mtime_ns
            with open_file(path) as file:
                parts = file.read(_NUM_BYTES)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _NUM_BYTES))
                parts += file.read(_NUM_BYTES)
        except (OSError, ValueError) as error:
            return type(error).__name__
        return f"{size} {time} {zlib.crc32(parts)}"

    how = (1, PIL.__version__, source.num_channels, source.min_side)
    digest = hashlib.sha256(repr(how).encode("ascii"))
    for line in thread_map(identity, len(source), num_threads):
        digest.update(f"\n{line}".encode("ascii"))
    return digest.hexdigest()[:32]
