"""Reads an image file of any usual kind as plain 8-bit grey or RGB."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import struct
from os import PathLike
from typing import BinaryIO

from PIL import Image, ImageOps

from hadis_lightly.data.errors import ImageReadError
from hadis_lightly.data.files.pixel_modes import to_plain
from hadis_lightly.data.files.quiet_pillow import quiet_pillow
from hadis_lightly.text import one_line

#: Suffixes, in lower case, of the files that are taken for images.
IMAGE_SUFFIXES = frozenset(
    [
        ".bmp",
        ".gif",
        ".jfif",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)

#: Pillow's names of the formats that are read, whatever the suffix says. It knows more,
#: and would start other programs for some of them.
IMAGE_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

#: Images of more pixels are refused before they are decoded; whatever Pillow's own
#: limit is. One of so many takes 512 MiB.
MAX_PIXELS = 1 << 27

#: Larger files are refused; no image within ``MAX_PIXELS`` needs more.
MAX_FILE_BYTES = 8 * MAX_PIXELS

_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 322, 323
_MODES = {1: "L", 3: "RGB"}


def read_image(path: str | PathLike[str], num_channels: int = 3) -> Image.Image:
    """Reads an image upright, as 8-bit ``RGB`` or ``L``.

    Its content decides what it is, not its suffix: any of :data:`IMAGE_FORMATS`. The
    EXIF orientation is applied; 16 bits are scaled to 8; transparent parts are laid on
    white, as a page shows them; of an animation the first frame is taken.

    Args:
        path: The image file.
        num_channels: 3 for mode ``RGB``, 1 for mode ``L``.

    Raises:
        ValueError: if ``num_channels`` is neither 1 nor 3.
        ImageReadError: if the file cannot be read as an image, naming it: it is
            damaged, no regular file, has more than :data:`MAX_PIXELS` pixels, ...
    """
    if num_channels not in _MODES:
        raise ValueError(f"num_channels must be 1 or 3, got {num_channels!r}")
    try:
        with quiet_pillow, _opened(path) as file:
            return _decode(file, _MODES[num_channels])
    except Exception as error:
        # Decoders fail in many ways: OSError, SyntaxError, struct.error, zlib.error ...
        reason = _reason(error)
        raise ImageReadError(
            f"cannot read image {str(path)!r}: {reason}", reason
        ) from error


def _opened(path: str | PathLike[str]) -> BinaryIO:
    """Opens a regular file; never waits for somebody to write into a pipe."""
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
    # Between the two calls it may have become a pipe.
    flag = getattr(os, "O_NONBLOCK", 0)
    # As an object, not by its name: Pillow would map a named file into memory, and one
    # that shrinks meanwhile would end the process.
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | flag))


def _decode(file: BinaryIO, mode: str) -> Image.Image:
    # Up to here only the header is read.
    with _identify(file) as image:
        _check_size(*image.size)
        if image.format == "TIFF":
            tags = image.tag_v2  # type: ignore[attr-defined]
            width, height = tags.get(_TIFF_TILE_WIDTH), tags.get(_TIFF_TILE_HEIGHT)
            if width and height:
                _check_size(int(width), int(height))
        return _plain(image, mode)


def plain_image(image: Image.Image, num_channels: int = 3) -> Image.Image:
    """What :func:`read_image` would have made of the file of an image.

    Turned as its EXIF block says, transparent parts on white, 8 bits.

    Args:
        image: Any image of Pillow's; it stays as it is.
        num_channels: 3 for mode ``RGB``, 1 for mode ``L``.

    Raises:
        ValueError: if ``num_channels`` is neither 1 nor 3, or the pixels are floats.
    """
    if num_channels not in _MODES:
        raise ValueError(f"num_channels must be 1 or 3, got {num_channels!r}")
    raw_mode = _raw_mode(image)
    image.load()
    copy = image.copy()
    copy.format = image.format
    return _plain(copy, _MODES[num_channels], raw_mode)


def _plain(image: Image.Image, mode: str, raw_mode: str | None = None) -> Image.Image:
    raw_mode = _raw_mode(image) if raw_mode is None else raw_mode
    image.load()
    # A malformed EXIF block says nothing about the pixels.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return to_plain(image, mode, raw_mode)


def _identify(file: BinaryIO) -> Image.Image:
    """Finds the format and reads the header.

    As ``Image.open`` does, but what Pillow's limit of pixels is does not matter.
    """
    start = file.read(16)
    reason = "not an image"
    for name in _formats():
        factory, accept = Image.OPEN[name]
        try:
            # A text says that Pillow knows the format but was built without it.
            if accept is None or accept(start) is not True:
                continue
            file.seek(0)
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            reason = f"damaged {name} header: {_reason(error)}"
    raise ValueError(reason)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of the formats for which this Pillow was built."""
    Image.init()
    return tuple(name for name in IMAGE_FORMATS if name in Image.OPEN)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"it claims {width} x {height} pixels, more than {MAX_PIXELS:,}"
        )


def _raw_mode(image: Image.Image) -> str:
    """How the pixels lie in the file, in Pillow's words; empty where it is unknown."""
    tiles = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else None
    if isinstance(arguments, tuple) and arguments:
        arguments = arguments[0]
    return arguments if isinstance(arguments, str) else ""


def _reason(error: Exception) -> str:
    """What an error says, in one line, without the name of the file."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(str(error)) or type(error).__name__
