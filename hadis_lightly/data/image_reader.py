"""Reads an image file of any usual kind as plain 8-bit grey or RGB."""

from __future__ import annotations

import contextlib
from os import PathLike

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hadis_lightly.data.errors import ImageReadError

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

_MODES = {1: "L", 3: "RGB"}


def read_image(path: str | PathLike[str], num_channels: int = 3) -> Image.Image:
    """Reads an image upright, as 8-bit ``RGB`` or ``L``.

    The EXIF orientation is applied; 16-bit grey is scaled to 8 bits; transparent parts
    are laid on white, as a page shows them; of an animation the first frame is taken.

    Args:
        path: The image file.
        num_channels: 3 for mode ``RGB``, 1 for mode ``L``.

    Raises:
        ValueError: if ``num_channels`` is neither 1 nor 3.
        ImageReadError: if the file cannot be read as an image, naming it.
    """
    if num_channels not in _MODES:
        raise ValueError(f"num_channels must be 1 or 3, got {num_channels!r}")
    try:
        with Image.open(path) as image:
            image.load()
            # A malformed EXIF block says nothing about the pixels.
            with contextlib.suppress(Exception):
                ImageOps.exif_transpose(image, in_place=True)
            return _to_plain(image, _MODES[num_channels])
    except UnidentifiedImageError as error:
        raise ImageReadError(f"{str(path)!r} is not an image") from error
    except Exception as error:
        # Decoders fail in many ways: OSError, SyntaxError, struct.error, zlib.error ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageReadError(f"cannot read image {str(path)!r}: {reason}") from error


def _to_plain(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats, which have no fixed range")
    if image.mode.startswith("I"):
        image = _sixteen_to_eight_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert(mode)  # a copy, free of the file


def _sixteen_to_eight_bits(image: Image.Image) -> Image.Image:
    """Scales 0..65535 to 0..255 (Pillow's own conversion would cut at 255)."""
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels need more than 16 bits")
    return Image.fromarray(((pixels + 128) // 257).astype(np.uint8))
