"""Reads an image file of any usual kind as plain 8-bit grey or RGB."""

from __future__ import annotations

import os
import stat
import threading
import warnings
from os import PathLike
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from hadis_lightly.data.errors import ImageReadError
from hadis_lightly.data.files.formats import image_formats
from hadis_lightly.data.files.pixels import plain_image
from hadis_lightly.data.files.tiff import is_misread_by_pillow, is_tiff, read_tiff
from hadis_lightly.text import describe_error

#: Images of more pixels are refused before they are decoded, even where Pillow's own
#: limit has been raised. One of this size takes 512 MiB.
MAX_PIXELS = 1 << 27

#: Larger files are refused; no image within ``MAX_PIXELS`` needs more.
MAX_FILE_BYTES = 8 * MAX_PIXELS

_TILE_WIDTH, _TILE_HEIGHT = 322, 323  # tags of a TIFF


def read_image(path: str | PathLike[str], num_channels: int = 3) -> Image.Image:
    """Reads an image upright, as 8-bit ``RGB`` or ``L``.

    The content, not the suffix, decides the format. The EXIF orientation is applied, 16
    bits are scaled to 8, transparent parts are laid on white, and of an animation the
    first frame is taken.

    Args:
        path: The image file.
        num_channels: 3 for mode ``RGB``, 1 for mode ``L``.

    Raises:
        ImageReadError: if the file cannot be read as an image, naming it: it is
            damaged, not a regular file, of more than :data:`MAX_PIXELS` pixels, ...; or
            if ``num_channels`` is neither 1 nor 3.
    """
    try:
        with _quiet_pillow, _open(path) as file, _opened(file) as image:
            return plain_image(image, num_channels)
    except Exception as error:
        # Decoders fail in many ways: OSError, SyntaxError, struct.error, zlib.error ...
        reason = describe_error(error)
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image, or its header is damaged"
        raise ImageReadError(
            f"cannot read image {str(path)!r}: {reason}", reason
        ) from error


class _QuietPillow:
    """A context in which Pillow's warnings are not shown, in any thread.

    ``warnings.catch_warnings`` is not safe for threads: of two that overlap, the last
    to end restores what the other had changed. So the first thread opens it, and the
    last one closes it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._count == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                self._caught.__exit__(None, None, None)


_quiet_pillow = _QuietPillow()


def _open(path: str | PathLike[str]) -> BinaryIO:
    """Opens a regular file; never waits at a pipe."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise ValueError(f"{kind}, not a file")
    if status.st_size == 0:
        raise ValueError("the file is empty")
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(
            f"the file has {status.st_size:,} bytes, more than {MAX_FILE_BYTES:,}"
        )
    # Pillow maps a file given by name into memory: if that shrinks, the process ends.
    flag = getattr(os, "O_NONBLOCK", 0)  # it may have become a pipe since
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | flag))


def _opened(file: BinaryIO) -> Image.Image:
    """The image in a file, of which only the header has been read where possible."""
    try:
        image = Image.open(file, formats=image_formats())
    except UnidentifiedImageError:
        if not is_tiff(file):
            raise
    else:
        _check_size(image)
        if not is_misread_by_pillow(image):
            return image
    return read_tiff(file, MAX_PIXELS)


def _check_size(image: Image.Image) -> None:
    """Refuses an image of which only the header has been read."""
    tags = getattr(image, "tag_v2", {})
    tile = (int(tags.get(_TILE_WIDTH, 0)), int(tags.get(_TILE_HEIGHT, 0)))
    for width, height in (image.size, tile):
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"it claims {width} x {height} pixels, more than {MAX_PIXELS:,}"
            )
