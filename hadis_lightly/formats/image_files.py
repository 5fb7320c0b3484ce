"""Where the images are, for tools that want a file for each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image

from hadis_lightly.data import FolderSource, ImageSource
from hadis_lightly.data.files.tables import containing_file

Progress = Callable[[int, int], None]

#: Folder of the images that are written, below the folder of the format.
IMAGES = "images"
# What browsers show; the tools are pages in one.
_SHOWN = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"])


def image_files(
    source: ImageSource, folder: Path, progress: Progress | None = None
) -> list[str]:
    """Paths of the images, absolute where the files are the user's own.

    Images that no browser shows (TIFF, HEIC, ...), and those in arrays and tables, are
    written as PNG; their paths are relative to ``folder``, with ``/``.

    Args:
        source: The images.
        folder: Folder of the format.
        progress: Called with the images done and their number.
    """
    paths = []
    for row in range(len(source)):
        path = own_file(source, row)
        if path is None:
            path = f"{IMAGES}/{source.keys[row]}.png"
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            source.read(row).save(place)
        paths.append(path)
        if progress is not None:
            progress(row + 1, len(source))
    return paths


def linked_images(
    source: ImageSource, folder: Path, progress: Progress | None = None
) -> list[str]:
    """Links to the images, below ``images/`` of the folder; returns relative paths.

    Where the disk or the system has no links, files are copied. The rest is as for
    :func:`image_files`.
    """
    paths = image_files(source, folder, progress)
    for row, path in enumerate(paths):
        if os.path.isabs(path):
            paths[row] = f"{IMAGES}/{source.keys[row]}"
            _link_or_copy(path, folder / paths[row])
    return paths


def own_file(source: ImageSource, row: int) -> str | None:
    """Absolute path of the user's file; None if there is none that browsers show."""
    path = user_file(source, row)
    is_shown = path is not None and os.path.splitext(path)[1].lower() in _SHOWN
    return path if is_shown else None


def user_file(source: ImageSource, row: int) -> str | None:
    """Absolute path of the user's file; None for images in arrays and tables."""
    if not isinstance(source, FolderSource):
        return None
    path = source.path(row)
    return os.path.abspath(path) if containing_file(path) == path else None


def _link_or_copy(path: str, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.symlink_to(path)
    except FileExistsError:  # to copy now would write to what that one links to
        raise
    except (OSError, NotImplementedError):  # no right to (Windows), or no links (exFAT)
        shutil.copy2(path, place)


def read_tile(source: ImageSource, row: int, side: int) -> Image.Image:
    """The image at a row, reduced or enlarged to fit into a square, in its middle."""
    if isinstance(source, FolderSource):
        source = replace(source, min_side=side)
    image = source.read(row).convert("RGB")
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    tile = Image.new("RGB", (side, side), "white")
    tile.paste(small, ((side - width) // 2, (side - height) // 2))
    return tile
