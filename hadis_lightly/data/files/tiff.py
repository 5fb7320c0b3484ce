"""Kinds of TIFF that Pillow refuses or reads wrongly: by tifffile, an extra."""

from __future__ import annotations

import logging
import lzma
import math
import operator
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

_BITS, _SAMPLES, _COMPRESSION, _PLANAR, _SAMPLE_FORMAT = 258, 277, 259, 284, 339  # tags
_SEPARATE, _UNCOMPRESSED, _SIGNED = 2, 1, 2
_WHITE_IS_ZERO, _COLOUR_BY_PHOTOMETRIC = 0, {0: False, 1: False, 2: True}
# Compressions. PackBits expands at most 64 times; LZW is left to imagecodecs.
_BOUNDED = (1, 5, 32773)
_DECOMPRESSORS: dict[int, Callable[[], Any]] = {
    8: zlib.decompressobj,
    32946: zlib.decompressobj,
    34925: lzma.LZMADecompressor,
}
_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(file: BinaryIO) -> bool:
    """Whether a file starts as a TIFF does."""
    file.seek(0)
    return file.read(4) in _STARTS


def is_misread_by_pillow(image: Image.Image) -> bool:
    """Whether Pillow would read an opened image wrongly.

    Raises:
        ValueError: if its pixels are signed bytes, which Pillow takes for unsigned.
    """
    if image.format != "TIFF":
        return False
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    bits, samples = max(tags.get(_BITS, (1,))), int(tags.get(_SAMPLES, 1))
    if bits == 8 and _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise ValueError("its pixels are signed, which have no fixed black and white")
    if tags.get(_PLANAR) != _SEPARATE or samples == 1:
        return False
    is_raw = tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
    return samples == 2 or (bits == 16 and is_raw)


def read_tiff(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Reads the first page as ``L``, ``LA``, ``RGB`` or ``RGBA``; 16 bits become 8.

    The image keeps its orientation, as a tag.

    Args:
        file: The file, at any place.
        max_pixels: Images of more are refused before they are decoded.

    Raises:
        ValueError: if tifffile is not installed, or the page is of another kind.
    """
    try:
        import tifffile
    except ImportError:
        raise ValueError(
            "a kind of TIFF that Pillow cannot read, or its header is damaged; more "
            "kinds are read after pip install tifffile"
        ) from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # errors are raised here
    num_bytes = file.seek(0, 2)
    file.seek(0)
    try:
        with tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages[0]
            for width, height in (
                (page.imagewidth, page.imagelength),
                (page.tilewidth, page.tilelength),
            ):
                if width * height > max_pixels:
                    raise ValueError(
                        f"it claims {width} x {height} pixels, more than {max_pixels:,}"
                    )
            # What is missing tifffile would read as 0.
            ends = map(operator.add, page.dataoffsets, page.databytecounts)
            is_whole = len(page.dataoffsets) == math.prod(page.chunked)
            if not is_whole or 0 in page.databytecounts or max(ends) > num_bytes:
                raise ValueError("the file is cut or damaged")
            _check_blocks(file, page)
            return _to_image(page)
    except (tifffile.TiffFileError, IndexError) as error:
        raise ValueError("not an image, or its header is damaged") from error


def _check_blocks(file: BinaryIO, page: Any) -> None:
    """Refuses strips and tiles that decompress to more than the header says.

    Without the package imagecodecs, tifffile decompresses them whatever they hold.
    """
    compression = int(page.compression)
    if compression in _BOUNDED:
        return
    if compression not in _DECOMPRESSORS:
        name = getattr(page.compression, "name", compression)
        raise ValueError(f"a TIFF compressed by {name}, which is not read")
    size = page.imagewidth * page.imagelength * page.samplesperpixel
    most = min(size, math.prod(page.chunks)) * page.dtype.itemsize
    if page.is_tiled:  # the last ones are padded
        most = math.prod(page.chunks) * page.dtype.itemsize
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(start)
        block = _DECOMPRESSORS[compression]().decompress(file.read(length), most + 1)
        if len(block) > most:
            raise ValueError("it holds more data than its header says")


def _to_image(page: Any) -> Image.Image:
    photometric, samples = int(page.photometric), int(page.samplesperpixel)
    num_plain = 3 if _COLOUR_BY_PHOTOMETRIC.get(photometric) else 1
    kind = str(page.dtype)
    if (
        photometric not in _COLOUR_BY_PHOTOMETRIC
        or samples not in (num_plain, num_plain + 1)
        or kind not in ("uint8", "uint16")
    ):
        raise ValueError(f"a TIFF of {samples} channel(s) of {kind}, which is not read")
    pixels: NDArray[Any] = page.asarray()
    if pixels.size != page.imagewidth * page.imagelength * samples or not pixels.size:
        raise ValueError("the file is cut or damaged")
    axis = page.axes.find("S")
    pixels = pixels[..., None] if axis < 0 else np.moveaxis(pixels, axis, -1)
    if kind == "uint16":
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if photometric == _WHITE_IS_ZERO:
        pixels = np.concatenate([255 - pixels[..., :1], pixels[..., 1:]], axis=-1)
    pixels = pixels[..., 0] if samples == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(pixels))
    orientation = page.tags.get(int(ExifTags.Base.Orientation))
    if orientation is not None:
        image.getexif()[ExifTags.Base.Orientation] = int(orientation.value)
    return image
