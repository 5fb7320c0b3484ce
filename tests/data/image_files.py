"""Bytes of image files: of every kind, and of kinds that Pillow does not write."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, size=(13, 17, 3), dtype=np.uint8)
GREY = PIXELS[..., 0]

IS_RECENT = int(PIL.__version__.split(".")[0]) >= 11


def write(root: Path, *names: str) -> Path:
    """Writes images whose red says their number."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (number, 0, 0)).save(path)
    return root


def encode(image: Image.Image | np.ndarray, form: str, **options: Any) -> bytes:
    """An image as Pillow writes it."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.copy().save(file, form, **options)  # which leaves traces in it
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(
    width: int, height: int, bits: int, colour: int, rows: bytes, extra: bytes = b""
) -> bytes:
    """A PNG of any depth; ``rows`` as they are before compression."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def tiff(tags: dict[int, int | list[int]], *blocks: bytes, order: str = "<") -> bytes:
    """A TIFF with blocks of data, whose places and lengths are added to the tags.

    ``tags`` must hold those of strips (273, 279) or of tiles (324, 325) with any value.
    """
    place, length = (324, 325) if 324 in tags else (273, 279)
    extra_at = 8 + 2 + 12 * len(tags) + 4
    extra, entries = b"", b""
    lists = {tag: [v] if isinstance(v, int) else v for tag, v in tags.items()}
    lists[place] = lists[length] = [0] * len(blocks)
    num_extra = sum(4 * len(values) for values in lists.values() if len(values) > 1)
    lengths = [len(block) for block in blocks]
    starts = [extra_at + num_extra + sum(lengths[:i]) for i in range(len(blocks))]
    lists[place], lists[length] = starts, lengths
    for tag, values in sorted(lists.items()):
        content = struct.pack(f"{order}{len(values)}I", *values)
        entries += struct.pack(f"{order}HHI", tag, 4, len(values))
        if len(values) == 1:
            entries += content
        else:
            entries += struct.pack(f"{order}I", extra_at + len(extra))
            extra += content
    start = b"II*\0" if order == "<" else b"MM\0*"
    start += struct.pack(f"{order}IH", 8, len(tags))
    return start + entries + bytes(4) + extra + b"".join(blocks)


def grey_tiff(
    width: int, bits: int, data: bytes, photometric: int = 1, order: str = "<"
) -> bytes:
    """One row of grey pixels."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric}
    tags |= {273: 0, 277: 1, 278: 1, 279: 0}
    return tiff(tags, data, order=order)


def samples() -> dict[str, bytes]:
    """A readable file of every kind, by a name for it."""
    black_and_white = Image.fromarray(GREY).convert("1")
    frames = [Image.fromarray(np.roll(PIXELS, shift, axis=0)) for shift in range(3)]

    def several() -> dict[str, Any]:
        return {"save_all": True, "append_images": [f.copy() for f in frames[1:]]}

    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "png": encode(PIXELS, "PNG"),
        "png alpha": encode(np.dstack([PIXELS, GREY]), "PNG"),
        "png palette": encode(Image.fromarray(PIXELS).quantize(9), "PNG"),
        "png 1 bit": encode(black_and_white, "PNG"),
        "png 16 bit": encode(GREY.astype(np.uint16) * 200, "PNG"),
        "apng": encode(frames[0], "PNG", **several()),
        "jpeg": encode(PIXELS, "JPEG", exif=exif),
        "jpeg progressive": encode(PIXELS, "JPEG", progressive=True),
        "jpeg cmyk": encode(Image.fromarray(PIXELS).convert("CMYK"), "JPEG"),
        "gif": encode(Image.fromarray(PIXELS).quantize(64), "GIF"),
        "gif animated": encode(frames[0], "GIF", **several()),
        "webp": encode(PIXELS, "WEBP"),
        "webp lossless": encode(PIXELS, "WEBP", lossless=True, exif=exif),
        "webp animated": encode(frames[0], "WEBP", lossless=True, **several()),
        "bmp": encode(PIXELS, "BMP"),
        "bmp grey": encode(GREY, "BMP"),
        "ppm": encode(PIXELS, "PPM"),
        "pgm": encode(GREY, "PPM"),
        "pbm": encode(black_and_white, "PPM"),
        "tiff": encode(PIXELS, "TIFF", exif=exif),
        "tiff 16 bit": encode(GREY.astype(np.uint16) * 200, "TIFF"),
        "tiff pages": encode(frames[0], "TIFF", **several()),
    }
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        files[f"tiff {compression}"] = encode(PIXELS, "TIFF", compression=compression)
    files["tiff group4"] = encode(black_and_white, "TIFF", compression="group4")
    if IS_RECENT:  # what Pillow 10.1 writes of so small a size, it cannot read
        files["mpo"] = encode(frames[0], "MPO", **several())
    if "avif" in features.modules and features.check("avif"):
        files["avif"] = encode(PIXELS, "AVIF")
    return files


SAMPLES = samples()
