"""Number of different images: a set of copies has no clusters."""

from __future__ import annotations

import hashlib

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
        The number of different images, at most ``enough``.

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
        pixels = np.asarray(source.read(index))
        content = hashlib.blake2b(pixels.tobytes(), digest_size=16)
        content.update(repr(pixels.shape).encode("ascii"))
        return content.digest()

    # Threads only where there is something to wait for.
    n, in_memory = len(source), isinstance(source, ArraySource)
    digests = map(digest, range(n)) if in_memory else thread_map(digest, n, num_threads)
    seen: set[bytes] = set()
    for value in digests:
        seen.add(value)
        if len(seen) == enough:
            break
    return len(seen)
