"""Finds the image files below a folder, and nothing that lies elsewhere."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hadis_lightly.data.errors import DataError, ImageProblem, check_on_error
from hadis_lightly.data.files.formats import image_suffixes
from hadis_lightly.data.files.tables import TABLE_SUFFIXES
from hadis_lightly.own_output import is_own
from hadis_lightly.text import describe_error, in_utf8


class _Folder(NamedTuple):
    path: str
    name: str  # relative to the root, with a "/" at the end
    above: tuple[str, ...]  # real paths of the folders that it lies in, its own last
    is_linked: bool  # whether a link was followed on the way


class FoundImages(NamedTuple):
    """What lies in a folder."""

    files: list[str]
    """Paths of the images relative to the folder, with ``/``, in the same order on
    every file system."""
    left_out: list[ImageProblem]
    """Links not followed, folders of results and folders that cannot be listed."""
    others: Counter[str]
    """Number of files that are no images, by their suffix in lower case."""
    tables: Sequence[str] = ()
    """Those of them that may hold images, in the same way as :attr:`files`."""


def find_images(
    root: str | Path, on_error: str = "raise", follow_links: bool = False
) -> FoundImages:
    """Finds the images below a folder by their suffix; none is opened.

    Hidden files and folders are skipped, and so are folders of this package's results:
    runs, reports, figures and sorted images. A link is followed if its real path stays
    within ``root``, but not back into a folder that it lies in, and only one link to a
    folder on the way to an image: so every walk ends, however folders are linked.

    Args:
        root: The folder.
        on_error: ``raise`` if a folder cannot be listed, or ``skip`` it.
        follow_links: Whether to follow links that lead out of ``root``, too.

    Raises:
        DataError: if ``root`` is no folder or cannot be listed, or if a folder below it
            cannot and ``on_error`` is ``raise``.
    """
    check_on_error(on_error)
    check_folder(root)
    real_root = os.path.realpath(root)
    files, tables = list[str](), list[str]()
    left_out: list[ImageProblem] = []
    others: Counter[str] = Counter()
    waiting = [_Folder(str(root), "", (real_root,), False)]
    while waiting:
        folder = waiting.pop()
        if folder.name and is_own(folder.path):
            key = in_utf8(folder.name.rstrip("/"))
            left_out.append(ImageProblem(key, "folder of results of hadis-lightly"))
            continue
        try:
            with os.scandir(folder.path) as entries:
                for entry in entries:
                    found = _look_at(entry, folder, real_root, follow_links)
                    if isinstance(found, _Folder):
                        waiting.append(found)
                    elif isinstance(found, ImageProblem):
                        left_out.append(found)
                    elif found is not None and _suffix(found) in image_suffixes():
                        files.append(found)
                    elif found is not None:
                        others[_suffix(found)] += 1
                        # Not the copies that datasets keeps for itself.
                        is_cache = os.path.basename(found).startswith("cache-")
                        if _suffix(found) in TABLE_SUFFIXES and not is_cache:
                            tables.append(found)
        except OSError as error:
            reason = describe_error(error)
            if not folder.name or on_error == "raise":
                message = f"cannot list data folder {folder.path!r}: {reason}"
                raise DataError(message) from error
            key = in_utf8(folder.name.rstrip("/"))
            left_out.append(ImageProblem(key, f"cannot list the folder: {reason}"))
    files.sort(key=_order)
    return FoundImages(files, sorted(left_out), others, sorted(tables, key=_order))


def check_folder(root: str | Path) -> None:
    """Raises DataError unless ``root`` is a folder."""
    if not os.path.isdir(root):
        problem = "is not a folder" if os.path.exists(root) else "does not exist"
        raise DataError(f"data folder {str(root)!r} {problem}")


def _look_at(
    entry: os.DirEntry[str], folder: _Folder, real_root: str, follow_links: bool
) -> str | ImageProblem | _Folder | None:
    """A file, a link that is not followed, a folder to look into, or nothing."""
    if entry.name.startswith("."):
        return None
    name = folder.name + entry.name
    is_image = _suffix(name) in image_suffixes().union(TABLE_SUFFIXES)
    is_folder = _is_folder(entry)
    if not is_folder and not entry.is_symlink():
        return name
    real_path = os.path.realpath(entry.path)
    # Not entry.is_symlink(), which is false for a junction of Windows.
    is_link = real_path != os.path.join(folder.above[-1], entry.name)
    is_broken = not is_folder and not os.path.exists(entry.path)
    problem = None
    is_inside = Path(real_path).is_relative_to(real_root)
    if not is_inside and not follow_links:
        if not is_folder and not is_image and not is_broken:
            return name
        problem = "link to outside the folder"
    elif is_broken and not is_image:
        problem = "link that leads nowhere"
    elif not is_folder:
        return name
    elif real_path in folder.above or Path(real_root).is_relative_to(real_path):
        problem = "link back to a folder that it lies in"
    elif is_link and folder.is_linked:
        problem = "link to a folder, within a linked folder"
    if problem is not None:
        return ImageProblem(in_utf8(name), problem)
    above = (*folder.above, real_path)
    return _Folder(entry.path, f"{name}/", above, is_link or folder.is_linked)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _order(path: str) -> tuple[str, str]:
    # File systems spell an accented letter in one or in two code points; a folder comes
    # before another one whose name begins with its name.
    return unicodedata.normalize("NFC", path).replace("/", "\0"), path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or through a folder that is closed to us
        return False
