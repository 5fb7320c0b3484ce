"""Which images of a set are copies of another, and how to fold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

D = TypeVar("D", bound=np.generic)

# What a copy has in common with the first image of its group.
_WORDS = {
    "file": "with the same bytes",
    "pixels": "with the same pixels",
    "near": "nearly the same",
}


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Groups of images that are copies of each other, in a set of ``n`` images.

    Args:
        keys: Names of the images.
        targets: int64 ``(n,)``, -1 where the class is unknown.
        first: Row of the first image in the group of each image, int64 ``(n,)``: its
            own if it is that image, or has no copy.
        kinds: What each has in common with the first: ``file``, all bytes; ``pixels``,
            the pixels, in another file; ``near``: it is re-encoded, resized, mirrored
            or cropped a little. Empty for first images.
    """

    keys: Sequence[str]
    targets: NDArray[np.int64]
    first: NDArray[np.int64]
    kinds: Sequence[str]

    @property
    def kept(self) -> NDArray[np.int64]:
        """Rows ``(m,)`` of the images that stay: the first of every group."""
        return np.unique(self.first)

    @property
    def num_copies(self) -> int:
        """Number of images that do not stay."""
        return len(self.first) - len(self.kept)

    def unfold(self, values: NDArray[D]) -> NDArray[D]:
        """From values ``(m, ...)`` of the images that stay to those of all ``n``.

        Example:
            >>> first = np.array([0, 1, 0])
            >>> copies = Duplicates("abc", np.full(3, -1), first, ["", "", "near"])
            >>> copies.unfold(np.array([7, 9]))
            array([7, 9, 7])
        """
        return values[np.searchsorted(self.kept, self.first)]

    def describe(self) -> str:
        """How many copies there are, and of which kind, in a few words."""
        counts = Counter(self.kinds)
        shown = [f"{counts[k]:,} {w}" for k, w in _WORDS.items() if counts[k]]
        copies = f"{self.num_copies:,} cop{'y' if self.num_copies == 1 else 'ies'}"
        return f"{copies} ({', '.join(shown)})" if shown else "no copies"
