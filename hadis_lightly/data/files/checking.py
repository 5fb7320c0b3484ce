"""Looks at all images of a folder: finds those that fail, and keeps decoded pixels."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any

import numpy as np
import PIL
from numpy.typing import NDArray

from hadis_lightly.atomic import atomic_write
from hadis_lightly.data.errors import (
    ImageProblem,
    ImageReadError,
    check_on_error,
    list_problems,
)
from hadis_lightly.data.files.decoded import DecodedImages, PixelCache, pixel_bytes
from hadis_lightly.data.files.folder import FolderSource, is_momentary
from hadis_lightly.data.files.pixels import PixelRange
from hadis_lightly.data.files.reader import open_file
from hadis_lightly.data.files.tables import containing_file
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.thread_map import Progress, thread_map

# Bytes of the beginning and of the end of a file that tell it from another.
_NUM_BYTES = 4096
# Packages beside Pillow that decode images where they are installed.
_DECODERS = ("pillow-heif", "pillow-jxl-plugin", "tifffile", "imagecodecs")


@dataclass
class CheckedImages:
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
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> CheckedImages:
        """From what :meth:`to_arrays` has made."""
        bad, reasons = arrays["bad"].tolist(), arrays["reasons"].tolist()
        problems = dict(zip(bad, reasons, strict=True))
        return cls(arrays["sizes"], problems, PixelRange(arrays["levels"].tolist()))

    def apply(
        self, source: FolderSource, on_error: str, hint: str = ""
    ) -> FolderSource:
        """The source without the images that cannot be read.

        Args:
            source: The source.
            on_error: See :func:`readable_images`.
            hint: Added to the error.

        Raises:
            ImageReadError: See :func:`readable_images`.
        """
        n, bad = len(source), self.problems
        problems = [ImageProblem(source.keys[row], bad[row]) for row in sorted(bad)]
        checked = replace(
            source,
            sizes=self.sizes,
            left_out=tuple(sorted([*source.left_out, *problems])),
            description="; ".join(
                filter(None, [source.description, self.range.describe()])
            ),
        )
        if not bad:
            return checked
        listed = list_problems(problems)
        names = f"{len(bad):,} of {n:,} images cannot be read: {listed}"
        if len(bad) == n:
            raise ImageReadError(f"no image is left: {names}")
        if on_error == "raise":
            raise ImageReadError(f"{names}; data.on_error=skip leaves them out{hint}")
        good = np.setdiff1d(np.arange(n), list(bad))
        note = f"without {len(bad):,} that cannot be read: {len(good):,} images"
        return checked.subset(good, note)


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
    headers = CheckedImages(np.zeros((len(source), 2), dtype=np.int32))
    checked, _ = _decode(source, headers, num_threads, progress)
    return checked.apply(source, on_error)


def read_headers(
    source: FolderSource, num_threads: int = 4, progress: Progress | None = None
) -> CheckedImages:
    """Reads the headers of all images, but decodes none: damaged pixels stay unseen.

    Args:
        source: The source.
        num_threads: Threads that read.
        progress: Called with the number of images read and the number of all.
    """

    def read(index: int) -> tuple[int, int] | str:
        try:
            return source.read_size(index)
        except ImageReadError as error:
            return error.reason

    headers = CheckedImages(np.zeros((len(source), 2), dtype=np.int32))
    for index, size in enumerate(thread_map(read, len(source), num_threads, progress)):
        if isinstance(size, str):
            headers.problems[index] = size
        else:
            headers.sizes[index] = size[::-1]
    return headers


def decoded_images(
    source: FolderSource,
    headers: CheckedImages,
    cache: PixelCache | None = None,
    *,
    on_error: str = "raise",
    num_threads: int = 4,
    progress: Progress | None = None,
) -> FolderSource:
    """Decodes every image of a folder once, and keeps the pixels.

    A file that cannot be read for a moment is tried again, as in training.

    Args:
        source: The source; see :attr:`FolderSource.min_side`.
        headers: Those of its images; files without one that can be read stay closed.
        cache: Where to keep the pixels; by default in memory. Of several processes one
            decodes, and the others wait.
        on_error: See :func:`readable_images`.
        num_threads: Threads that read and decode.
        progress: Called with the number of images read and the number of all.

    Returns:
        The source, which reads no file any more.

    Raises:
        ImageReadError: See :func:`readable_images`.
        OSError: If the cache cannot be written, or the disk has no room for it.
    """
    check_on_error(on_error)
    channels = source.num_channels
    if cache is None:
        memory = io.BytesIO()
        checked, _ = _decode(source, headers, num_threads, progress, memory)
        pixels = memory.getbuffer()
        decoded = DecodedImages.side_by_side(pixels, checked.sizes, channels)
    else:
        key = files_key(source, num_threads)
        with cache.locked(key):
            index = cache.load_index(key)
            if index is not None:
                checked = CheckedImages.from_arrays(index)
            else:
                num_bytes = int(pixel_bytes(headers.sizes, channels).sum())
                cache.make_room(key, num_bytes)
                with atomic_write(cache.file(key), "wb") as file:
                    checked, is_final = _decode(
                        source, headers, num_threads, progress, file
                    )
                if is_final:
                    cache.save_index(key, checked.to_arrays())
            path = cache.file(key)
            decoded = DecodedImages.side_by_side(path, checked.sizes, channels)
    return checked.apply(replace(source, decoded=decoded), on_error)


def _decode(
    source: FolderSource,
    headers: CheckedImages,
    num_threads: int,
    progress: Progress | None,
    file: IO[bytes] | None = None,
) -> tuple[CheckedImages, bool]:
    """Decodes all images, and writes their pixels one after the other to a file.

    Returns:
        What was found, and whether another attempt would find the same: not if the
        system could not give a file, or memory ran out.
    """
    sizes, problems = np.zeros_like(headers.sizes), dict(headers.problems)
    checked, is_final = CheckedImages(sizes, problems), True

    def decode(index: int) -> NDArray[np.uint8] | ImageReadError:
        if index in headers.problems:
            return ImageReadError(headers.problems[index])
        try:
            image = source.read_patiently(index)
        except ImageReadError as error:
            return error
        checked.range.add(image)
        return np.ascontiguousarray(image)

    found = thread_map(decode, len(source), num_threads, progress)
    for index, pixels in enumerate(found):
        if isinstance(pixels, ImageReadError):
            problems[index] = pixels.reason
            is_final &= not is_momentary(pixels)
            continue
        sizes[index] = pixels.shape[:2]
        if file is not None:
            file.write(pixels.data)
    return checked, is_final


def files_key(source: FolderSource, num_threads: int = 4) -> str:
    """A hash of what pixels depend on: the files, and how they are read; 32 digits.

    Of a file, its path, its size, its times and a part of its contents count.
    """

    def identity(index: int) -> str:
        path = source.path(index)
        try:
            status = os.stat(containing_file(path))
            with open_file(path) as file:
                parts = file.read(_NUM_BYTES)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _NUM_BYTES))
                parts += file.read(_NUM_BYTES)
        except (OSError, ValueError) as error:
            return type(error).__name__
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        return f"{os.path.abspath(path)!r} {size} {times} {zlib.crc32(parts)}"

    versions = [PIL.__version__, *map(_version, _DECODERS)]
    how = (1, versions, source.num_channels, source.min_side)
    digest = hashlib.sha256(repr(how).encode("ascii"))
    for line in thread_map(identity, len(source), num_threads):
        digest.update(f"\n{line}".encode())
    return digest.hexdigest()[:32]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
