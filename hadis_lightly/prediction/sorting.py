"""Sorts image files into one folder per cluster."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from hadis_lightly.data import StreamedImage
from hadis_lightly.data.files.formats import image_formats
from hadis_lightly.data.files.reader import open_file
from hadis_lightly.data.files.tables import containing_file
from hadis_lightly.own_output import mark_own, new_file
from hadis_lightly.text import describe_error


class SortIntoFolders:
    """Puts files into one folder per cluster, as links or copies.

    Args:
        folder: A folder that does not exist yet.
        n_clusters: Number of clusters, for folder names that sort by number.
        by: ``link`` or ``copy``. Where links cannot be made, files are copied, and so
            are images in tables; :attr:`no_links` then says why.

    Raises:
        ValueError: If the folder exists.
    """

    def __init__(self, folder: Path, n_clusters: int, by: str = "link") -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()  # of two commands one succeeds
        except FileExistsError:
            raise ValueError(
                f"sort_into is {str(folder)!r}, which exists already: choose another "
                "folder, or remove it if an unfinished command left it."
            ) from None
        mark_own(folder)
        self.folder = folder
        self.by = by
        self.no_links = ""
        self._width = len(str(n_clusters - 1))

    def __call__(self, image: StreamedImage[Any], label: int) -> None:
        """Puts a file into the folder of its cluster, below its own subfolders."""
        place = self.folder / f"cluster_{label:0{self._width}}" / image.key
        place.parent.mkdir(parents=True, exist_ok=True)
        if containing_file(image.path) != image.path:  # the row of a table
            if self.by == "link":
                self.no_links = "images in tables"
            _write_row(image.path, place)
            return
        if self.by == "link":
            try:
                place.symlink_to(os.path.abspath(image.path))
                return
            except (OSError, NotImplementedError) as error:
                # No right to (Windows), or no links on such a disk (exFAT).
                self.by, self.no_links = "copy", describe_error(error)
        with new_file(place) as copy:
            shutil.copy2(image.path, copy.unfinished)


def _write_row(row: str, place: Path) -> None:
    """Writes the image in the row of a table, with a suffix by its format."""
    with open_file(row) as file:
        kind = "tiff"  # all that Pillow cannot open
        with suppress(UnidentifiedImageError):
            kind = str(Image.open(file, formats=image_formats()).format).lower()
        file.seek(0)
        name = place if place.suffix else place.with_suffix(f".{kind}")
        with new_file(name) as copy:
            copy.unfinished.write_bytes(file.read())
