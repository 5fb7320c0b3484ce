"""What people have images in, as paths or as a source."""

from __future__ import annotations

import os
from typing import Any

from hadis_lightly.data import ImageSource, load_source, source_in_memory


def paths_in(images: Any) -> str | list[str] | None:
    """The path or paths that images are given by; None if they are given otherwise.

    Args:
        images: A path; a list, a tuple, or anything with ``tolist`` (an array or a
            column of a table), of paths.
    """
    if isinstance(images, (str, os.PathLike)):
        return os.fspath(images)
    kind = getattr(getattr(images, "dtype", None), "kind", "")
    if kind in ("O", "T", "U"):  # text in NumPy and pandas
        images = images.tolist()
    is_list = isinstance(images, (list, tuple)) and len(images) > 0
    if is_list and all(isinstance(path, (str, os.PathLike)) for path in images):
        return [os.fspath(path) for path in images]
    return None


def source_to_predict(images: Any, num_channels: int, min_side: int) -> ImageSource:
    """Images of any kind that a fit takes, as a source.

    Args:
        images: Paths, or see :func:`~hadis_lightly.data.source_in_memory`.
        num_channels: To read files with.
        min_side: Shorter side that larger images in files are reduced to.
    """
    paths = paths_in(images)
    if paths is None:
        return source_in_memory(images)
    return load_source("folder", paths, num_channels=num_channels, min_side=min_side)
