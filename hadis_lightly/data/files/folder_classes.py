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
from hadis_lightly.data.files.path_list import (
    ListedPath,
    read_list,
    read_metadata,
)
from hadis_lightly.data.files.tables import holds_images
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

    found: FoundImages
    """The images and what lies beside them."""
    labels: list[str]
    """Name of the class of each, empty if unknown."""
    note: str
    """What a description says of them."""


def label_images(root: str, on_error: str, follow_links: bool) -> LabelledImages:
    """Finds the images below a folder, and their classes.

    Classes are the folders directly below ``root``, or of merged splits those below
    the splits. A file of metadata replaces them in the folder where it lies. If there
    are no image files, those in tables are taken, but not the paths in tables, which
    may lead anywhere.

    Args:
        root: The folder.
        on_error: ``raise`` if a folder cannot be listed or a table cannot be read, or
            ``skip`` it.
        follow_links: Whether to follow links that lead out of the folder, too.

    Raises:
        DataError: if ``root`` is missing, not a folder, unreadable, without images, or
            the folder of a run; or as ``on_error`` says.
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
    labels, used, unused = _with_metadata(root, files, labels, follow_links)
    if used:
        merged += printable(f" (classes from {', '.join(used)})")
        read = Counter(os.path.splitext(name)[1].lower() for name in used)
        found = found._replace(others=other_files - read)
    if unused:
        merged += printable(f" (not used: {'; '.join(unused)})")
    return LabelledImages(found, labels, merged)


def _images_in_tables(root: str, found: FoundImages, on_error: str) -> LabelledImages:
    """The images in the tables of a folder that has no image files.

    Tables without images are files of another kind: their paths may lead anywhere.
    """
    files, labels = list[str](), list[str]()
    left_out, others = list(found.left_out), Counter(found.others)
    num_read = 0
    for table in found.tables:
        folder = os.path.dirname(table)
        place = os.path.join(root, table)
        rows = []
        try:
            if not holds_images(place):
                continue
            rows = read_list(place)
            num_read += 1
        except DataError as error:
            if on_error == "raise":
                raise
            left_out.append(ImageProblem(in_utf8(table), str(error)))
        files += [f"{folder}/{row.path}" if folder else row.path for row in rows]
        labels += [in_utf8(row.label or "") for row in rows]
        others[os.path.splitext(table)[1].lower()] -= 1
    if not files:
        raise DataError(
            f"no images in the tables of data folder {root!r}: "
            f"{list_problems(left_out) or 'they are empty, or hold only paths'}"
        )
    note = f" in {num_read:,} table{'s' * (num_read > 1)}"
    return LabelledImages(FoundImages(files, left_out, +others), labels, note)


def _with_metadata(
    root: str, files: list[str], labels: list[str], follow_links: bool
) -> tuple[list[str], list[str], list[str]]:
    """Replaces classes by those in files of metadata, as Hugging Face's folders have.

    A file of metadata concerns the folder that it lies in. One that cannot be read,
    lists none of the images or contradicts another is not used.

    Returns:
        The labels, the names of the files that are used, and why others are not.
    """
    images = set(files)
    listed: dict[str, str] = {}
    folders = set()  # of the files that are used, with a "/" at the end
    used, unused = [], []
    for folder in ("", *sorted({_top(file) for file in files} - {""})):
        for name in METADATA_NAMES:
            path = f"{folder}{name}"
            place = os.path.join(root, path)
            is_left_out = os.path.islink(place) and not follow_links
            if is_left_out or not os.path.isfile(place):
                continue
            try:
                rows = read_metadata(place)
                own = _listed_images(rows, folder, images, listed) if rows else {}
            except DataError as error:
                unused.append(f"{path}: {error}")
                continue
            if own:
                listed |= own
                folders.add(folder)
                used.append(path)
            elif rows:
                unused.append(f"{path}: it lists none of the images")
    labels = [
        listed.get(file, "") if folders & {"", _top(file)} else label
        for file, label in zip(files, labels, strict=True)
    ]
    return labels, used, unused


def _listed_images(
    rows: list[ListedPath], folder: str, images: set[str], listed: dict[str, str]
) -> dict[str, str]:
    """Classes by image below a folder, from rows of its metadata.

    Raises:
        DataError: if an image has two classes, one of which may be listed already.
    """
    own: dict[str, str] = {}
    for place, path, label, _ in rows:
        file = os.path.normpath(f"{folder}{path}").replace(os.sep, "/")
        if file not in images or not file.startswith(folder):
            continue
        name = in_utf8(label or "")
        known = own.get(file) or listed.get(file) or name
        if name not in ("", known):
            raise DataError(f"{place} has two classes, {known!r} and {name!r}")
        own[file] = known
    return own


def _top(file: str) -> str:
    """The folder directly below the root that a file lies in, with a ``/``, or none."""
    top, slash, _ = file.partition("/")
    return top + slash if slash else ""


def _class_of(file: str, no_classes: set[str]) -> str:
    """The class folder of an image; empty if it lies in none."""
    folders = file.split("/")[:-1]
    if folders and folders[0] in no_classes:
        folders = folders[1:]
    return in_utf8(folders[0]) if folders else ""
