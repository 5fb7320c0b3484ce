"""From any of Pillow's modes to plain 8-bit grey or RGB."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

_MODES = {1: "L", 3: "RGB"}
_BITS, _PHOTOMETRIC = 258, 262  # tags of a TIFF
_WHITE_IS_ZERO = 0
_JPEG = ("JPEG", "MPO")

# Levels of 255 that the pixels of a set span at least, unless they are scaled wrongly.
_LEAST_RANGE = 64


def plain_image(image: Image.Image, num_channels: int = 3) -> Image.Image:
    """Makes of an opened image what :func:`read_image` makes of its file.

    Args:
        image: An image of any mode; not changed.
        num_channels: 3 for mode ``RGB``, 1 for mode ``L``.

    Raises:
        ValueError: if ``num_channels`` is neither 1 nor 3, or if the pixels are floats
            or have more than 16 bits.
    """
    if num_channels not in _MODES:
        raise ValueError(f"num_channels must be 1 or 3, got {num_channels!r}")
    image.load()
    file_format, tags = image.format, getattr(image, "tag_v2", {})
    # A malformed EXIF block says nothing about the pixels.
    with contextlib.suppress(Exception):
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floats, which have no fixed range")
    if image.mode == "CMYK" and file_format in _JPEG and "adobe" not in image.info:
        # Pillow takes every JPEG for one of Adobe's, which are inverted.
        image = image.point(lambda value: 255 - value)
    elif image.mode == "LAB":
        image = image.convert("RGB")  # to grey Pillow knows no other way
    elif image.mode.startswith("I"):
        image = _to_eight_bits(image, tags)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert(_MODES[num_channels])  # a copy, free of the file


def image_of_array(pixels: NDArray[Any]) -> Image.Image:
    """An image of an array ``(h, w)`` or ``(h, w, c)``.

    Raises:
        TypeError: if it is not uint8, ``c`` is not 1, 3 or 4, or a side is 0.
    """
    plane = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    is_image = plane.ndim == 2 or (plane.ndim == 3 and plane.shape[2] in (3, 4))
    if plane.dtype != np.uint8 or not is_image or 0 in plane.shape:
        raise TypeError(
            "an array must be uint8 (h, w) or (h, w, c), c 1, 3 or 4, none of them 0; "
            f"got {pixels.dtype} {pixels.shape}."
        )
    return Image.fromarray(plane)


class PixelRange:
    """The least and the largest value of all pixels; takes images from any thread.

    Args:
        levels: Values of some pixels.
    """

    def __init__(self, levels: Iterable[int] = ()) -> None:
        self.levels = set(levels)  # to which any thread may add

    def add(self, image: Image.Image) -> None:
        """Takes an 8-bit image into account."""
        self.levels.update(np.ravel(image.getextrema()).tolist())

    def describe(self) -> str:
        """One line if the range is so small that the pixels may be scaled wrongly."""
        low, high = min(self.levels, default=0), max(self.levels, default=0)
        if not 0 < high - low < _LEAST_RANGE:
            return ""
        return (
            f"all pixels lie between {low} and {high} of 255: scale them first if the "
            "files hold 10 or 12 bits in 16"
        )


def _to_eight_bits(image: Image.Image, tags: Mapping[int, Any]) -> Image.Image:
    """Scales grey of 16 or 12 bits to 8 (Pillow's own conversion cuts at 255)."""
    pixels: NDArray[np.int64] = np.asarray(image).astype(np.int64)
    largest = 4095 if tags.get(_BITS) == (12,) else 65535
    if pixels.min() < 0 or pixels.max() > largest:
        raise ValueError("its pixels are signed or need more than 16 bits")
    grey = ((pixels * 255 + largest // 2) // largest).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    plain = Image.fromarray(grey)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        plain.putalpha(Image.fromarray((pixels != transparent) * np.uint8(255)))
    return plain
