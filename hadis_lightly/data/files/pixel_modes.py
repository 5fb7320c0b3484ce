"""From any of Pillow's modes to plain 8-bit grey or RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_JPEG = ("JPEG", "MPO")


def to_plain(image: Image.Image, mode: str, raw_mode: str = "") -> Image.Image:
    """Returns an image of mode ``L`` or ``RGB``, transparent parts laid on white.

    Args:
        image: Any image, loaded.
        mode: ``L`` or ``RGB``.
        raw_mode: How its pixels lay in the file, where Pillow forgets it.

    Raises:
        ValueError: if its pixels are floats or have more than 16 bits.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floats, which have no fixed range")
    transparent = _transparent_value(image, raw_mode)
    if transparent is not None:
        image.info["transparency"] = transparent
    if image.mode == "CMYK" and image.format in _JPEG and "adobe" not in image.info:
        # Pillow takes every JPEG for one of Adobe's, which are inverted.
        image = image.point(lambda value: 255 - value)
    if image.mode.startswith("I"):
        image = _to_eight_bits(image, raw_mode)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert(mode)  # a copy, free of the file


def _transparent_value(image: Image.Image, raw_mode: str) -> Any:
    """The transparent value of a PNG in the range that its pixels have now, or None.

    Pillow spreads 2 and 4 bits over 0..255 and cuts 16 bits of a colour to 8, but keeps
    this value as it is in the file.
    """
    value = image.info.get("transparency")
    if isinstance(value, int) and raw_mode in ("L;2", "L;4"):
        return value * (85 if raw_mode == "L;2" else 17)
    if isinstance(value, tuple) and raw_mode == "RGB;16B":
        return tuple(part >> 8 for part in value)
    return None


def _to_eight_bits(image: Image.Image, raw_mode: str) -> Image.Image:
    """Scales grey of 16 or 12 bits to 8 (Pillow's own conversion would cut at 255)."""
    pixels: NDArray[np.int64] = np.asarray(image).astype(np.int64)
    largest = 4095 if raw_mode == "I;12" else 65535
    if pixels.min() < 0 or pixels.max() > largest:
        raise ValueError("its pixels need more than 16 bits")
    grey = ((pixels * 255 + largest // 2) // largest).astype(np.uint8)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    plain = Image.fromarray(grey)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        plain.putalpha(Image.fromarray((pixels != transparent) * np.uint8(255)))
    return plain
