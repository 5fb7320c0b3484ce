"""Reads an image file of any usual kind as plain 8-bit grey or RGB."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from os import PathLike
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from hadis_lightly.data.errors import ImageReadError
from hadis_lightly.data.files.formats import image_formats
from hadis_lightly.data.files.pixels import plain_image
from hadis_lightly.data.files.tables import read_row
from hadis_lightly.data.files.tiff import is_misread_by_pillow, is_tiff, read_tiff
from hadis_lightly.text import describe_error

#: Images of more pixels are refused before they are decoded, even where Pillow's own
#: limit has been raised. One of this size takes 512 MiB.
MAX_PIXELS = 1 << 27

#: Larger files are refused; no image within ``MAX_PIXELS`` needs more.
MAX_FILE_BYTES = 8 * MAX_PIXELS

_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323  # tags of a TIFF
_CUT_OFF = ("truncated", "unexpected end of file")  # words of Pillow and libheif
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def read_image(
    path: str | PathLike[str], num_channels: int = 3, min_side: int = 0
) -> Image.Image:
    """Reads an image upright, as 8-bit ``RGB`` or ``L``.

    The content, not the suffix, decides the format. The EXIF orientation is applied, 16
    bits are scaled to 8, transparent parts are laid on white, and of an animation the
    first frame is taken.

    Args:
        path: The image file, or the row of a table, ``a.parquet/000017-cat.jpg``.
        num_channels: 3 for mode ``RGB``, 1 for mode ``L``.
        min_side: Larger images are reduced until their shorter side has so many pixels;
            of a JPEG, most is then never decoded. 0 keeps every image as it is.

    Raises:
        ImageReadError: if the file cannot be read as an image, naming it: it is
            damaged, not a regular file, of more than :data:`MAX_PIXELS` pixels, ...; or
            if ``num_channels`` is neither 1 nor 3.
    """
    with _naming(path), open_file(path) as file:
        return _decoded(file, num_channels, min_side)


def decode_image(
    content: bytes, num_channels: int = 3, min_side: int = 0
) -> Image.Image:
    """What :func:`read_image` returns of a file with this content.

    Raises:
        ImageReadError: as :func:`read_image`.
    """
    with _naming("in memory"):
        _check_length(len(content))
        return _decoded(io.BytesIO(content), num_channels, min_side)


def _decoded(file: BinaryIO, num_channels: int, min_side: int) -> Image.Image:
    with _quiet_pillow, _opened(file) as image:
        size = _upright_size(image, file)
        if 0 < 2 * min_side <= min(size):
            image.draft(None, (min_side, min_side))
        return _resized(plain_image(image, num_channels), reduced_size(size, min_side))


def read_size(path: str | PathLike[str]) -> tuple[int, int]:
    """Width and height of an image that is upright, from its header where possible.

    Raises:
        ImageReadError: as :func:`read_image`, but for damaged pixels.
    """
    with _naming(path), _quiet_pillow, open_file(path) as file, _opened(file) as image:
        return _upright_size(image, file)


def _upright_size(image: Image.Image, file: BinaryIO) -> tuple[int, int]:
    """Width and height of an opened image, as EXIF turns it."""
    width, height = image.size
    # Of a TIFF, some versions of Pillow give the size upright already.
    if tags := getattr(image, "tag_v2", {}):
        width, height = tags[_WIDTH], tags[_HEIGHT]
    # To look for EXIF data after the pixels of a PNG, Pillow decodes them.
    if image.format != "PNG" or "exif" in image.info or _has_late_exif(file):
        with contextlib.suppress(Exception):
            if image.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS:
                return height, width
    return width, height


def _has_late_exif(png: BinaryIO) -> bool:
    """Whether a chunk of EXIF data stands anywhere in a PNG; keeps the position."""
    place = png.tell()
    png.seek(len(b"\x89PNG\r\n\x1a\n"))
    kind = b""
    while len(head := png.read(8)) == 8 and kind not in (b"eXIf", b"IEND"):
        length, kind = struct.unpack(">I4s", head)
        png.seek(length + 4, os.SEEK_CUR)  # the contents and their checksum
    png.seek(place)
    return kind == b"eXIf"


def reduced_size(size: tuple[int, int], min_side: int) -> tuple[int, int]:
    """The size in which :func:`read_image` returns an image.

    Example:
        >>> reduced_size((4000, 3000), min_side=128)
        (171, 128)
        >>> reduced_size((100, 80), min_side=128)
        (100, 80)
    """
    shorter = min(size)
    if min_side < 1 or shorter <= min_side:
        return size
    width, height = (round(side * min_side / shorter) for side in size)
    return width, height


def reduce_image(image: Image.Image, min_side: int) -> Image.Image:
    """Reduces an image that is decoded already, as :func:`read_image` does."""
    return _resized(image, reduced_size(image.size, min_side))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


@contextlib.contextmanager
def _naming(path: str | PathLike[str]) -> Iterator[None]:
    """Turns every error into one that names the file."""
    try:
        yield
    except Exception as error:
        # Decoders fail in many ways: OSError, SyntaxError, struct.error, zlib.error ...
        reason = describe_error(error)
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image, or its header is damaged"
        elif any(words in reason.lower() for words in _CUT_OFF):
            reason = "the file is cut off: its end is missing"
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


def open_file(path: str | PathLike[str]) -> BinaryIO:
    """Opens an image file, or the row of a table; never waits at a pipe.

    Raises:
        OSError: if the system cannot open it.
        ValueError: if it is no regular file, empty or larger than
            :data:`MAX_FILE_BYTES`, or see :func:`read_row`.
    """
    row = read_row(path)
    if row is not None:
        _check_length(len(row))
        return io.BytesIO(row)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise ValueError(f"{kind}, not a file")
    _check_length(status.st_size)
    # Pillow maps a file given by name into memory: if that shrinks, the process ends.
    flag = getattr(os, "O_NONBLOCK", 0)  # it may have become a pipe since
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | flag))


def _check_length(num_bytes: int) -> None:
    if num_bytes == 0:
        raise ValueError("the file is empty")
    if num_bytes > MAX_FILE_BYTES:
        raise ValueError(
            f"the file has {num_bytes:,} bytes, more than {MAX_FILE_BYTES:,}"
        )


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
