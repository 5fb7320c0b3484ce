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
from hadis_lightly.own_output import new_file, new_link

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
            with new_file(folder / IMAGES / f"{source.keys[row]}.png") as file:
                source.read(row).save(file.unfinished, format="png")
            path = file.path.relative_to(folder).as_posix()
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
            place = _link_or_copy(path, folder / IMAGES / source.keys[row])
            paths[row] = place.relative_to(folder).as_posix()
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


def _link_or_copy(path: str, place: Path) -> Path:
    """Returns the link or the copy; a number is added to its name if that is taken."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        return new_link(place, path)
    except OSError:  # no right to (Windows), or no links on such a disk (exFAT)
        with new_file(place) as copy:
            shutil.copy2(path, copy.unfinished)
        return copy.path


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
