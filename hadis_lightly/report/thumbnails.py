"""Small versions of many images, packed in sheets that a browser decodes at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image, features

from hadis_lightly.data import plain_image
from hadis_lightly.system import available_cores

Read = Callable[[int], Image.Image]
#: From a row and a number of pixels to the image, its shorter side reduced to so many,
#: and its own width and height.
ReadSmall = Callable[[int, int], tuple[Image.Image, tuple[int, int]]]
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
    """Width and height of every image in the sheet; (0, 0) if it is unreadable."""
    originals: list[tuple[int, int]]
    """Width and height of every image itself."""


def make_sheets(
    read: Read,
    rows: Sequence[int],
    *,
    read_small: ReadSmall | None = None,
    budget_bytes: int = BUDGET_BYTES,
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> Iterator[Sheet]:
    """Yields one sheet per :data:`IMAGES_PER_SHEET` rows, in their order.

    Args:
        read: Gives the image of a row; called from several threads.
        rows: Rows of the images.
        read_small: Takes the place of ``read`` if given; its images are upright, of
            mode ``RGB`` or ``L``.
        budget_bytes: What all sheets may take together; quality gives way.
        progress: Called with the images done and their number.
        num_threads: By default one per core and at most 8.
    """
    per_image = budget_bytes / len(rows)
    side = thumbnail_side(per_image)

    def read_whole(row: int, _: int) -> tuple[Image.Image, tuple[int, int]]:
        image = read(row)
        is_grey = image.mode in ("1", "L") or image.mode.startswith("I")
        image = plain_image(image, num_channels=1 if is_grey else 3)
        return image, image.size

    def make_sheet(start: int) -> Sheet:
        part = rows[start : start + IMAGES_PER_SHEET]
        return _make_sheet(read_small or read_whole, part, side, per_image * len(part))

    done = 0
    with ThreadPoolExecutor(num_threads or min(8, available_cores())) as pool:
        try:
            for sheet in pool.map(make_sheet, range(0, len(rows), IMAGES_PER_SHEET)):
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


def _make_sheet(
    read: ReadSmall, rows: Sequence[int], side: int, budget: float
) -> Sheet:
    images = [_small_version(read, row, side) for row in rows]
    sizes = [image.size if image else (0, 0) for image, _ in images]
    # JPEG stores colour in blocks of 16 pixels: no image shares one with the next.
    width, height = (
        -(-max(size) // 16) * 16 or 16 for size in zip(*sizes, strict=True)
    )
    n_columns = max(1, min(len(rows), round(math.sqrt(len(rows) * height / width))))
    n_lines = -(-len(rows) // n_columns)
    is_grey = all(image is None or image.mode == "L" for image, _ in images)
    sheet = Image.new("L" if is_grey else "RGB", (n_columns * width, n_lines * height))
    for place, (image, _) in enumerate(images):
        if image is not None:
            line, column = divmod(place, n_columns)
            corner = (column * width, line * height)
            # What lies beside an image has its mean colour: sharp edges cost bytes.
            mean = image.resize((1, 1), Image.Resampling.BOX)
            sheet.paste(mean.resize((width, height)), corner)
            sheet.paste(image, corner)
    originals = [original for _, original in images]
    is_tiny = all(max(original) <= TINY_SIDE for original in originals)
    data, mime = encode(sheet, is_tiny, budget)
    return Sheet(data, mime, (width, height), n_columns, sizes, originals)


def _small_version(
    read: ReadSmall, row: int, side: int
) -> tuple[Image.Image | None, tuple[int, int]]:
    """The image made small, never large, and its own size."""
    try:
        # Twice as large, so that it is still sharp when it is made small.
        image, original = read(row, 2 * side)
    except (OSError, ValueError):
        return None, (0, 0)
    width, height = image.size
    # The middle of what is very long.
    longest = math.ceil(_LONGEST_ASPECT * min(image.size))
    w, h = min(width, longest), min(height, longest)
    left, top = (width - w) // 2, (height - h) // 2
    scale = min(1.0, side / math.sqrt(w * h))
    small = image.resize(
        (max(1, round(w * scale)), max(1, round(h * scale))),
        Image.Resampling.LANCZOS,
        box=(left, top, left + w, top + h),
        reducing_gap=3.0,
    )
    return small, original


def encode(sheet: Image.Image, is_tiny: bool, budget: float) -> tuple[bytes, str]:
    """A picture at the best quality that the budget allows, and its MIME type."""
    ladder: list[dict[str, Any]] = []
    if is_tiny and features.check("webp"):
        ladder.append({"format": "WEBP", "lossless": True, "quality": 60})
        ladder += [{"format": "WEBP", "quality": quality} for quality in (92, 80)]
    elif is_tiny:
        ladder.append({"format": "PNG", "optimize": True})
    for quality in (84, 78, 70, 60, 45, 30, 18, 10, 5):
        ladder.append({"format": "JPEG", "quality": quality, "optimize": True})
    for options in ladder:
        file = BytesIO()
        sheet.save(file, **options)
        if file.tell() <= budget:
            break
    return file.getvalue(), f"image/{options['format'].lower()}"
