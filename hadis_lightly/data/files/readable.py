"""Decodes every image file once before it is relied upon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hadis_lightly.data.errors import ImageReadError
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.files.problems import (
    ImageProblem,
    check_on_error,
    list_problems,
)
from hadis_lightly.data.files.stream import stream_images
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.thread_map import Progress


def readable_images(
    source: ImageSource,
    *,
    on_error: str = "raise",
    num_threads: int = 4,
    progress: Progress | None = None,
) -> ImageSource:
    """Decodes every image of a folder once, and leaves out those that fail.

    Any other source is returned as it is. The source that comes back lists the failed
    files in :attr:`FolderSource.left_out` and knows the size of every image:
    :func:`common_size` of it is exact. Classes keep their numbers and names, also those
    that lost all images.

    Args:
        source: The source.
        on_error: ``raise`` if there are files that cannot be read, or ``skip`` them.
        num_threads: Threads that read and decode.
        progress: Called with how many images are read and how many there are.

    Raises:
        ImageReadError: if files cannot be read and ``on_error`` is ``raise``, or if
            none can be read; after all have been tried, naming the first few.
        DataError: if ``on_error`` is something else.
    """
    check_on_error(on_error)
    if not isinstance(source, FolderSource):
        return source
    n = len(source)
    sizes = np.zeros((n, 2), dtype=np.int32)
    bad: dict[int, ImageProblem] = {}
    images = stream_images(source, lambda image: image.size, num_threads, progress)
    for index, image in enumerate(images):
        if isinstance(image.content, ImageProblem):
            bad[index] = image.content
        else:
            sizes[index] = image.content[::-1]
    left_out = tuple(sorted([*source.left_out, *bad.values()]))
    checked = replace(source, sizes=sizes, left_out=left_out)
    if not bad:
        return checked
    listed = list_problems(list(bad.values()))
    names = f"{len(bad):,} of {n:,} images cannot be read: {listed}"
    if len(bad) == n:
        raise ImageReadError(f"no image is left: {names}")
    if on_error == "raise":
        raise ImageReadError(f"{names}; data.on_error=skip leaves them out")
    good = np.setdiff1d(np.arange(n), list(bad))
    note = f"{len(bad):,} of them left out, which cannot be read"
    return checked.subset(good, note)
