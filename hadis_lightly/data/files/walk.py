"""Finds the image files below a folder, and nothing that lies elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePath
from typing import NamedTuple

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.files.problems import ImageProblem
from hadis_lightly.data.files.reader import IMAGE_SUFFIXES
from hadis_lightly.text import in_utf8, one_line

_OUTSIDE = "link to outside the folder"
_LOOP = "link back to a folder that it lies in"
_NESTED = "link to a folder, within a linked folder"
_BROKEN = "link that leads nowhere"


class FoundImages(NamedTuple):
    """What lies below a folder."""

    images: list[PurePath]
    """Paths relative to it, in no order."""
    left_out: list[ImageProblem]
    """Links that are not followed, and folders that cannot be listed."""


class _Folder(NamedTuple):
    path: str
    parts: tuple[str, ...]  # relative to the root
    real_path: str
    above: frozenset[str]  # real paths of the folders that it lies in, and its own
    is_linked: bool  # whether a link was followed on the way


def find_images(root: Path, on_error: str = "raise") -> FoundImages:
    """Finds all images below a folder, see :func:`walk_images`."""
    found = FoundImages([], [])
    for image in walk_images(root, on_error):
        if isinstance(image, ImageProblem):
            found.left_out.append(image)
        else:
            found.images.append(image)
    return found


def walk_images(
    root: Path, on_error: str = "raise"
) -> Iterator[PurePath | ImageProblem]:
    """Finds the images below a folder, by their suffix, one after the other.

    Hidden files and folders are skipped. A link is followed if it stays within
    ``root``, as its real path says; but not back into a folder that it lies in, and one
    link to a folder at most on the way to an image: however folders are linked with
    each other, the way through them ends.

    However many there are, no more than 10,000 names are held at a time; so many of a
    folder are sorted by name.

    Args:
        root: A folder that exists.
        on_error: What to do with a folder that cannot be listed: ``raise``, or ``skip``
            to leave it out.

    Yields:
        The path of an image relative to ``root``, or what is left out: a link that is
        not followed, or a folder that cannot be listed.

    Raises:
        DataError: if ``root`` cannot be listed, or another one and ``on_error`` is
            ``raise``.
    """
    real_root = os.path.realpath(root)
    start = _Folder(str(root), (), real_root, frozenset([real_root]), False)
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            for entry in _entries(folder.path):
                found = _look_at(entry, folder, real_root)
                if isinstance(found, _Folder):
                    waiting.append(found)
                elif found is not None:
                    yield found
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or one_line(str(error))
            if folder is start or on_error == "raise":
                message = f"cannot list data folder {folder.path!r}: {reason}"
                raise DataError(message) from error
            yield _problem(folder.parts, f"cannot list the folder: {reason}")


def _entries(path: str, at_a_time: int = 10_000) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder and is not hidden; so many sorted by name at a time."""
    with os.scandir(path) as entries:
        while some := list(islice(entries, at_a_time)):
            some.sort(key=lambda entry: entry.name)
            yield from (entry for entry in some if not entry.name.startswith("."))


def _look_at(
    entry: os.DirEntry[str], folder: _Folder, real_root: str
) -> PurePath | ImageProblem | _Folder | None:
    """An image, what is left out, a folder that is to be looked into, or nothing."""
    parts = (*folder.parts, entry.name)
    is_folder = _is_folder(entry)
    is_image = os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES
    is_linked = _is_link(entry)
    if is_linked:
        real_path = os.path.realpath(entry.path)
        is_broken = not os.path.exists(entry.path)
        if not Path(real_path).is_relative_to(real_root):
            matters = is_folder or is_image or is_broken
            return _problem(parts, _OUTSIDE) if matters else None
        if is_broken and not is_image:
            return _problem(parts, _BROKEN)
    else:
        real_path = os.path.join(folder.real_path, entry.name)
    if not is_folder:
        return PurePath(*parts) if is_image else None
    if real_path in folder.above:
        return _problem(parts, _LOOP)
    if is_linked and folder.is_linked:
        return _problem(parts, _NESTED)
    return _Folder(
        path=entry.path,
        parts=parts,
        real_path=real_path,
        above=folder.above | {real_path},
        is_linked=is_linked or folder.is_linked,
    )


def _problem(parts: tuple[str, ...], reason: str) -> ImageProblem:
    return ImageProblem(in_utf8("/".join(parts)), reason)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or through a folder that is closed to us
        return False


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Whether the real path may be another one; on Windows also through a junction."""
    is_junction = getattr(entry, "is_junction", None)  # from Python 3.12
    return entry.is_symlink() or (is_junction is not None and is_junction())
