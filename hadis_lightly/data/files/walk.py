"""Finds the image files below a folder, and nothing that lies elsewhere."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.files.problems import ImageProblem, check_on_error
from hadis_lightly.data.files.reader import IMAGE_SUFFIXES
from hadis_lightly.text import describe_error, in_utf8

_OUTSIDE = "link to outside the folder"
_LOOP = "link back to a folder that it lies in"
_NESTED = "link to a folder, within a linked folder"
_BROKEN = "link that leads nowhere"


class FoundImages(NamedTuple):
    """What lies below a folder."""

    files: list[str]
    """Paths relative to it, with ``/``, in an order that no file system changes."""
    left_out: list[ImageProblem]
    """Links that are not followed, and folders that cannot be listed; by name."""


class _Folder(NamedTuple):
    path: str
    name: str  # relative to the root, with a "/" at the end
    real_path: str
    above: frozenset[str]  # real paths of the folders that it lies in, and its own
    is_linked: bool  # whether a link was followed on the way


def find_images(root: str | Path, on_error: str = "raise") -> FoundImages:
    """Finds the images below a folder by their suffix; none is opened.

    Hidden files and folders are skipped. A link is followed if its real path stays
    within ``root``, but not back into a folder that it lies in, and only one link to a
    folder on the way to an image: so every walk ends, however folders are linked.

    Args:
        root: The folder.
        on_error: What to do with a folder that cannot be listed: ``raise``, or ``skip``
            to leave it out.

    Raises:
        DataError: if ``root`` is no folder or cannot be listed, or if a folder below it
            cannot and ``on_error`` is ``raise``.
    """
    check_on_error(on_error)
    check_folder(root)
    real_root = os.path.realpath(root)
    start = _Folder(str(root), "", real_root, frozenset([real_root]), False)
    files: list[str] = []
    left_out: list[ImageProblem] = []
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder.path) as entries:
                for entry in entries:
                    found = _look_at(entry, folder, real_root)
                    if isinstance(found, _Folder):
                        waiting.append(found)
                    elif isinstance(found, ImageProblem):
                        left_out.append(found)
                    elif found is not None:
                        files.append(found)
        except (OSError, ValueError) as error:
            reason = describe_error(error)
            if folder is start or on_error == "raise":
                message = f"cannot list data folder {folder.path!r}: {reason}"
                raise DataError(message) from error
            key = in_utf8(folder.name.rstrip("/"))
            left_out.append(ImageProblem(key, f"cannot list the folder: {reason}"))
    files.sort()
    return FoundImages(sorted(files, key=_order), sorted(left_out))


def check_folder(root: str | Path) -> None:
    """Checks that a path is that of a folder.

    Raises:
        DataError: if it is not.
    """
    if not os.path.isdir(root):
        problem = "is not a folder" if os.path.exists(root) else "does not exist"
        raise DataError(f"data folder {str(root)!r} {problem}")


def _look_at(
    entry: os.DirEntry[str], folder: _Folder, real_root: str
) -> str | ImageProblem | _Folder | None:
    """An image, what is left out, a folder to look into, or nothing."""
    if entry.name.startswith("."):
        return None
    name = folder.name + entry.name
    is_folder = _is_folder(entry)
    is_image = os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES
    is_linked = _is_link(entry)
    real_path = os.path.join(folder.real_path, entry.name)
    if is_linked:
        real_path = os.path.realpath(entry.path)
        is_broken = not os.path.exists(entry.path)
        if not Path(real_path).is_relative_to(real_root):
            matters = is_folder or is_image or is_broken
            return ImageProblem(in_utf8(name), _OUTSIDE) if matters else None
        if is_broken and not is_image:
            return ImageProblem(in_utf8(name), _BROKEN)
    if not is_folder:
        return name if is_image else None
    if real_path in folder.above:
        return ImageProblem(in_utf8(name), _LOOP)
    if is_linked and folder.is_linked:
        return ImageProblem(in_utf8(name), _NESTED)
    above = folder.above | {real_path}
    is_linked |= folder.is_linked
    return _Folder(entry.path, f"{name}/", real_path, above, is_linked)


def _order(path: str) -> str:
    # File systems spell an accented letter in one or in two code points; a folder comes
    # before another one whose name begins with its name.
    return unicodedata.normalize("NFC", path).replace("/", "\0")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or through a folder that is closed to us
        return False


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Whether the real path may be another one; on Windows also through a junction."""
    is_junction = getattr(entry, "is_junction", None)  # from Python 3.12
    return entry.is_symlink() or (is_junction is not None and is_junction())
