"""Looks at every image file once before it is relied upon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hadis_lightly.data.errors import ImageReadError
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.files.problems import (
    ImageProblem,
    check_on_error,
    list_problems,
)
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.thread_map import thread_map


class ReadableImages(NamedTuple):
    """A source all of whose images can be read."""

    source: ImageSource
    """The source, without the files that cannot be read."""
    problems: list[ImageProblem]
    """These, and what :func:`load_folder` had left out before; sorted by name."""


def readable_images(
    source: ImageSource,
    *,
    on_error: str = "raise",
    num_threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> ReadableImages:
    """Decodes every image of a folder once, and leaves out those that cannot be.

    What is in memory, an :class:`ArraySource`, is returned as it is at no cost. The
    source that comes back knows the size of every image: :func:`common_size` of it is
    exact. Classes keep their numbers and names, also those that lost all images.

    Args:
        source: The source.
        on_error: ``raise`` if there are files that cannot be read, or ``skip`` them.
        num_threads: Threads that read and decode.
        progress: Called with how many images are read and how many there are.

    Returns:
        The source, and what was left out.

    Raises:
        ImageReadError: if files cannot be read and ``on_error`` is ``raise``; all of
            them are tried before, and the first of them are named. Also if none can
            be read.
        DataError: if ``on_error`` is something else.
    """
    check_on_error(on_error)
    if not isinstance(source, FolderSource):
        return ReadableImages(source, [])

    n = len(source)
    sizes, bad = _look_at_all(source, num_threads, progress)
    problems = sorted([*source.left_out, *bad.values()])
    checked = replace(source, sizes=sizes, left_out=tuple(problems))
    if not bad:
        return ReadableImages(checked, problems)
    listed = list_problems(list(bad.values()))
    names = f"{len(bad):,} of {n:,} images cannot be read: {listed}"
    if len(bad) == n:
        raise ImageReadError(f"no image is left: {names}")
    if on_error == "raise":
        raise ImageReadError(f"{names}; data.on_error=skip leaves them out")
    good = np.setdiff1d(np.arange(n), list(bad))
    note = f"{len(bad):,} of them left out, which cannot be read"
    return ReadableImages(checked.subset(good, note), problems)


def _look_at_all(
    source: FolderSource,
    num_threads: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.int32], dict[int, ImageProblem]]:
    """Height and width of every image, and by index what cannot be read."""

    def look_at(index: int) -> tuple[int, int] | str:
        try:
            width, height = source.read(index).size
        except ImageReadError as error:
            return error.reason
        return height, width

    n = len(source)
    sizes = np.zeros((n, 2), dtype=np.int32)
    bad: dict[int, ImageProblem] = {}
    for index, found in enumerate(thread_map(look_at, n, num_threads, progress)):
        if isinstance(found, str):
            bad[index] = ImageProblem(source.keys[index], found)
        else:
            sizes[index] = found
    return sizes, bad
