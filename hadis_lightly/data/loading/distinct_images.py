"""How many different images there are: a set of copies has no clusters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from hadis_lightly.data.image_source import ArraySource, ImageSource
from hadis_lightly.data.thread_map import thread_map


def count_distinct(source: ImageSource, enough: int, num_threads: int = 4) -> int:
    """Counts images that differ in size or in a pixel, until there are enough.

    Few images are read of usual data, and all where most are equal.

    Args:
        source: The source.
        enough: Where to stop, at least 1.
        num_threads: Threads that read and decode.

    Returns:
        The number of different images, or ``enough`` if there are more.

    Raises:
        ValueError: if ``enough < 1``.
        ImageReadError: if one of those that are looked at cannot be read.

    Example:
        >>> from hadis_lightly.data import load_digits
        >>> count_distinct(load_digits(), enough=10)
        10
    """
    if enough < 1:
        raise ValueError(f"enough must be >= 1, got {enough!r}")

    def digest(index: int) -> bytes:
        if isinstance(source, ArraySource):
            pixels = source.images[index]
        else:
            pixels = np.asarray(source.read(index))
        content = hashlib.blake2b(pixels.tobytes(), digest_size=16)
        content.update(repr(pixels.shape).encode("ascii"))
        return content.digest()

    n = len(source)
    digests: Iterator[bytes] = map(digest, range(n))
    if not isinstance(source, ArraySource):  # where there is nothing to wait for
        digests = thread_map(digest, n, num_threads)
    seen: set[bytes] = set()
    for value in digests:
        seen.add(value)
        if len(seen) == enough:
            break
    return len(seen)
