"""The images of a folder, and the classes that folders, metadata or tables give."""

from __future__ import annotations

import os
from collections import Counter
from typing import NamedTuple

from hadis_lightly.data.errors import DataError, ImageProblem, list_problems
from hadis_lightly.data.files.formats import (
    describe_other_files,
    image_suffixes,
    missing_packages,
)
from hadis_lightly.data.files.path_list import read_list
from hadis_lightly.data.files.walk import FoundImages, find_images
from hadis_lightly.own_output import is_run
from hadis_lightly.text import in_utf8, printable

SPLIT_NAMES = frozenset({
    "train", "training", "test", "testing", "val", "valid", "validation",
})  # fmt: skip

#: Files that may hold the classes of the images beside and below them.
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


class LabelledImages(NamedTuple):
    """The images of a folder and their classes."""

    files: list[str]
    """Paths relative to the folder, with ``/``."""
    labels: list[str]
    """Name of the class of each, empty if unknown."""
    found: FoundImages
    """What lies beside them."""
    note: str
    """What a description says of them."""


def label_images(root: str, on_error: str, follow_links: bool) -> LabelledImages:
    """Finds the images below a folder and their classes, as :func:`load_folder` does.

    Raises:
        DataError: as :func:`load_folder`.
    """
    if is_run(root):
        raise DataError(
            f"data folder {root!r} is the folder of a run: its figures would be taken "
            "for images"
        )
    found = find_images(root, on_error, follow_links)
    files, left_out, other_files, tables = found
    if tables and not files:
        return _images_in_tables(root, found, on_error)
    if not files:
        others = f"; left out: {list_problems(left_out)}" if left_out else ""
        if other_files:
            lines = [describe_other_files(other_files), *missing_packages(other_files)]
            others += "".join(f"; {line}" for line in lines)
        raise DataError(
            f"no images in data folder {root!r}: looked in all its subfolders for "
            f"files ending in {', '.join(sorted(image_suffixes()))}{others}"
        )
    top = {file.split("/")[0] for file in files if "/" in file}
    splits = {name for name in top if name.lower() in SPLIT_NAMES}
    if len(splits) < 2 and splits != top:  # a class may be called train
        splits = set()
    labels = [_class_of(file, top if splits else set()) for file in files]
    merged = " + ".join(sorted(splits))
    if beside := ", ".join(sorted(top - splits)):
        beside = f"; not classes either: {beside}"
    merged = printable(f" ({merged} merged{beside})") if splits else ""
    listed, metadata = _labels_in_metadata(root, top, follow_links)
    if metadata:
        labels = [listed.get(file, "") for file in files]
        merged += f" (classes from {printable(', '.join(metadata))})"
        read = Counter(os.path.splitext(name)[1].lower() for name in metadata)
        found = found._replace(others=other_files - read)
    return LabelledImages(files, labels, found, merged)


def _images_in_tables(root: str, found: FoundImages, on_error: str) -> LabelledImages:
    """The images in the tables of a folder that has no image files."""
    files, labels = list[str](), list[str]()
    left_out, others = list(found.left_out), Counter(found.others)
    for table in found.tables:
        folder = os.path.dirname(table)
        try:
            rows = read_list(os.path.join(root, table))
        except DataError as error:
            if on_error == "raise":
                raise
            left_out.append(ImageProblem(in_utf8(table), str(error)))
            continue
        files += [os.path.join(folder, row.path) for row in rows]
        labels += [in_utf8(row.label or "") for row in rows]
        others[os.path.splitext(table)[1].lower()] -= 1
    if not files:
        raise DataError(
            f"no images in the tables of data folder {root!r}: "
            f"{list_problems(left_out) or 'all are empty'}"
        )
    num_read = len(found.tables) - (len(left_out) - len(found.left_out))
    note = f" in {num_read:,} table{'s' * (num_read > 1)}"
    found = FoundImages(files, left_out, +others)
    return LabelledImages(files, labels, found, note)


def _labels_in_metadata(
    root: str, top: set[str], follow_links: bool
) -> tuple[dict[str, str], list[str]]:
    """Classes by file from files of metadata, as Hugging Face's image folders have.

    Returns:
        The classes, and the names of the files that have any.
    """
    labels: dict[str, str] = {}
    names = []
    for folder in ("", *sorted(top)):
        for name in METADATA_NAMES:
            path = os.path.join(folder, name)
            place = os.path.join(root, path)
            is_left_out = os.path.islink(place) and not follow_links
            if is_left_out or not os.path.isfile(place):
                continue
            rows = [row for row in read_list(place) if row.label is not None]
            for row in rows:
                file = os.path.normpath(os.path.join(folder, row.path))
                labels[file.replace(os.sep, "/")] = in_utf8(row.label or "")
            if rows:
                names.append(path)
    return labels, names


def _class_of(file: str, no_classes: set[str]) -> str:
    """The class folder of an image; empty if it lies in none."""
    folders = file.split("/")[:-1]
    if folders and folders[0] in no_classes:
        folders = folders[1:]
    return in_utf8(folders[0]) if folders else ""
