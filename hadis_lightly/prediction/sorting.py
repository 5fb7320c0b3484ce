"""Sorts image files into one folder per cluster, or per label."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from hadis_lightly.data import StreamedImage
from hadis_lightly.data.files.formats import image_formats
from hadis_lightly.data.files.reader import open_file
from hadis_lightly.data.files.tables import containing_file
from hadis_lightly.own_output import mark_own, new_file, new_link
from hadis_lightly.text import describe_error

# What Windows allows in no name of a file, and how long a name may be at most.
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_MOST_BYTES = 200


class SortIntoFolders:
    """Puts files into one folder per cluster, or per label, as links or copies.

    Args:
        folder: A folder that does not exist yet.
        n_clusters: Number of clusters, for folder names that sort by number.
        by: ``link`` or ``copy``. Where links cannot be made, files are copied, and so
            are images in tables; :attr:`no_links` then says why.
        labels: All labels, if files are sorted by label.

    Raises:
        ValueError: If the folder exists.
    """

    def __init__(
        self,
        folder: Path,
        n_clusters: int,
        by: str = "link",
        labels: Iterable[str] = (),
    ) -> None:
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
        self._folders = folder_names(labels)

    def __call__(
        self, image: StreamedImage[Any], cluster: int, label: str | None = None
    ) -> None:
        """Puts a file into the folder of its cluster, below its own subfolders.

        Args:
            image: The image.
            cluster: Number of its cluster.
            label: Its label, which then gives the folder; a file whose label is empty
                stays out.
        """
        if label == "":
            return
        name = f"cluster_{cluster:0{self._width}}"
        if label is not None:
            name = self._folders[label]
        place = self.folder / name / image.key
        place.parent.mkdir(parents=True, exist_ok=True)
        if containing_file(image.path) != image.path:  # the row of a table
            if self.by == "link":
                self.no_links = "images in tables"
            _write_row(image.path, place)
            return
        if self.by == "link":
            try:
                new_link(place, os.path.abspath(image.path))
                return
            except OSError as error:
                # No right to (Windows), or no links on such a disk (exFAT).
                self.by, self.no_links = "copy", describe_error(error)
        with new_file(place) as copy:
            shutil.copy2(image.path, copy.unfinished)


def folder_names(labels: Iterable[str]) -> dict[str, str]:
    """A folder for each label, whose name every system allows.

    Labels that differ have other folders, also where upper case does not count, or
    whether an accent is a character of its own.

    Example:
        >>> folder_names(["cat", "Cat", "and/or", "..", "nul"])
        {'cat': 'cat', 'Cat': 'Cat_2', 'and/or': 'and_or', '..': '_', 'nul': '_nul'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        name = _FORBIDDEN.sub("_", label).encode()[:_MOST_BYTES].decode(errors="ignore")
        name = name.strip(" .") or "_"
        first = name = f"_{name}" if _RESERVED.fullmatch(name) else name
        number = 1
        while _seen(name) in taken:
            number += 1
            name = f"{first}_{number}"
        taken.add(_seen(name))
        names[label] = name
    return names


def _seen(name: str) -> str:
    """What systems go by that tell names apart by the least."""
    return unicodedata.normalize("NFD", name).casefold()


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
