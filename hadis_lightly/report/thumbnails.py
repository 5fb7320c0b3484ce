"""Small versions of many images, packed in sheets that a browser decodes at once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, features

Read = Callable[[int], Image.Image]
Progress = Callable[[int, int], None]

#: Bytes of all sheets together, before base64 makes them a third larger.
BUDGET_BYTES = 15 << 20
IMAGES_PER_SHEET = 64
#: Originals up to this side keep every pixel.
TINY_SIDE = 64
_LEAST_SIDE, _LARGEST_SIDE = 64, 256
# What a photo takes at a good quality; a larger side would cost quality.
_BYTES_PER_PIXEL = 0.24
_LONGEST_ASPECT = 2.5


@dataclass(frozen=True)
class Sheet:
    """Images in the cells of a grid, row by row, each in the corner of its cell."""

    data: bytes
    mime: str
    cell: tuple[int, int]
    n_columns: int
    sizes: list[tuple[int, int]]
    """Width and height of every image in the sheet; (0, 0) of one not readable."""
    originals: list[tuple[int, int]]
    """Width and height that every image has itself."""


def make_sheets(
    read: Read,
    rows: Sequence[int],
    *,
    budget_bytes: int = BUDGET_BYTES,
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> Iterator[Sheet]:
    """Yields one sheet per :data:`IMAGES_PER_SHEET` rows, in their order.

    Args:
        read: Gives the image of a row; called from several threads. An image that
            cannot be read has no size in its sheet.
        rows: Rows of the images.
        budget_bytes: What all sheets may take together; quality gives way.
        progress: Called with how many images are done and how many there are.
        num_threads: Number of threads, by default one per core and at most 8.
    """
    rows = [int(row) for row in rows]
    parts = [
        rows[start : start + IMAGES_PER_SHEET]
        for start in range(0, len(rows), IMAGES_PER_SHEET)
    ]
    per_image = budget_bytes / max(1, len(rows))
    side = thumbnail_side(per_image)
    num_threads = num_threads or min(8, os.cpu_count() or 1)
    done = 0
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for sheet in pool.map(
                lambda part: _make_sheet(read, part, side, per_image * len(part)), parts
            ):
                done += len(sheet.sizes)
                if progress is not None:
                    progress(done, len(rows))
                yield sheet
        finally:
            pool.shutdown(cancel_futures=True)


def thumbnail_side(bytes_per_image: float) -> int:
    """Side of a square with as many pixels as a small version may have.

    Example:
        >>> [thumbnail_side((15 << 20) / n) for n in (500, 2_000, 10_000)]
        [256, 176, 80]
    """
    side = math.sqrt(bytes_per_image / _BYTES_PER_PIXEL)
    return max(_LEAST_SIDE, min(_LARGEST_SIDE, int(side) // 16 * 16))


def _make_sheet(read: Read, rows: list[int], side: int, budget: float) -> Sheet:
    images, originals = [], []
    for row in rows:
        image, original = _small_version(read, row, side)
        images.append(image)
        originals.append(original)
    sizes = [(0, 0) if image is None else image.size for image in images]
    # JPEG stores colour in blocks of 16 pixels: no image shares one with the next.
    width, height = (
        -(-max(size) // 16) * 16 or 16 for size in zip(*sizes, strict=True)
    )
    n_columns = max(1, min(len(rows), round(math.sqrt(len(rows) * height / width))))
    is_grey = all(image is None or image.mode == "L" for image in images)
    n_lines = -(-len(rows) // n_columns)
    sheet = Image.new("L" if is_grey else "RGB", (n_columns * width, n_lines * height))
    for place, image in enumerate(images):
        if image is not None:
            line, column = divmod(place, n_columns)
            corner = (column * width, line * height)
            # What lies beside an image has its mean colour: sharp edges cost bytes.
            sheet.paste(
                image.resize((1, 1), Image.Resampling.BOX).resize((width, height)),
                corner,
            )
            sheet.paste(image, corner)
    is_tiny = all(max(original) <= TINY_SIDE for original in originals)
    data, mime = _encode(sheet, is_tiny, budget)
    return Sheet(data, mime, (width, height), n_columns, sizes, originals)


def _small_version(
    read: Read, row: int, side: int
) -> tuple[Image.Image | None, tuple[int, int]]:
    """The image made small, never large, and its own size."""
    try:
        original = read(row)
        image = _plain(original)
    except (OSError, ValueError):
        return None, (0, 0)
    width, height = image.size
    if max(image.size) > _LONGEST_ASPECT * min(image.size):
        # The middle of what is very long.
        longest = math.ceil(_LONGEST_ASPECT * min(image.size))
        w, h = min(width, longest), min(height, longest)
        left, top = (width - w) // 2, (height - h) // 2
        image = image.crop((left, top, left + w, top + h))
    scale = side / math.sqrt(image.width * image.height)
    if scale < 1:
        size = [max(1, round(length * scale)) for length in image.size]
        image = image.resize(
            (size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3.0
        )
    return image, (width, height)


def _plain(image: Image.Image) -> Image.Image:
    """An image of mode ``L`` or ``RGB``, transparent parts laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return image.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _eight_bits(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Grey of any range, from its darkest to its brightest if it exceeds 8 bits."""
    values = np.nan_to_num(pixels.astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 255 and pixels.dtype.kind != "f":
        low, high = 0.0, 255.0
    scaled = 255 * (values - low) / max(high - low, 1e-12)
    return np.asarray(scaled.round(), dtype=np.uint8)


def _encode(sheet: Image.Image, is_tiny: bool, budget: float) -> tuple[bytes, str]:
    """The sheet at the best quality that the budget allows, and its MIME type."""
    ladder: list[tuple[str, dict[str, Any]]] = []
    if is_tiny and features.check("webp"):
        ladder += [("WEBP", {"lossless": True, "quality": 60})]
        ladder += [("WEBP", {"quality": quality}) for quality in (92, 80)]
    elif is_tiny:
        ladder += [("PNG", {"optimize": True})]
    ladder += [("JPEG", {"quality": q}) for q in (84, 78, 70, 60, 45, 30, 18, 10, 5)]
    data, kind = b"", ""
    for kind, options in ladder:
        file = BytesIO()
        if kind == "JPEG":
            options["optimize"] = True
        sheet.save(file, format=kind, **options)
        data = file.getvalue()
        if len(data) <= budget:
            break
    return data, f"image/{kind.lower()}"
