"""The interface of every source of images, and the source that lies in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hadis_lightly.data.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class ImageSource(ABC):
    """A map-style dataset of ``(PIL image, target)`` that knows what it is.

    Args:
        name: Name of the source, as given to :func:`load_source`.
        class_names: Names of the classes by target, or ``None``.
        targets: int64 ``(n,)``, -1 where the class is unknown.
        keys: Names of the ``n`` images: the path relative to the folder, or the
            position in the full set such as ``"000123"``.
        description: One line: which splits, how many images, how many classes.
        num_channels: 1 for grey images (mode ``L``), 3 for colour (mode ``RGB``).
        training_only: Bool ``(n,)``, true for images to learn from that take no part in
            scores, nor in the cluster loss of a method that trains a cluster head.
            ``None`` if there are none.
    """

    name: str
    class_names: tuple[str, ...] | None
    targets: NDArray[np.int64]
    keys: Sequence[str]
    description: str
    num_channels: int
    training_only: NDArray[np.bool_] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Returns the image at ``index`` and its target, -1 if unknown."""
        target = int(self.targets[index])  # raises IndexError out of range
        return self.read(index), target

    def random_subset(self, limit: int, seed: int = 0) -> Self:
        """Draws ``limit`` images at random, whatever their class; keeps their order.

        For one seed the smaller subsets lie within the larger ones.

        Args:
            limit: Number of images, at least 1; all of them if there are no more.
            seed: Seed of the draw.

        Raises:
            DataError: if ``limit < 1``.
        """
        if limit < 1:
            raise DataError(f"limit must be at least 1, got {limit}")
        if limit >= len(self):
            return self
        order = np.random.default_rng(seed).permutation(len(self))
        note = f"a random {limit:,} of them (seed {seed})"
        return self.subset(np.sort(order[:limit]), note)

    def subset(self, indices: NDArray[np.int64], note: str) -> Self:
        """Keeps the images at ``indices``, in that order; classes keep their numbers.

        Args:
            indices: int64 ``(m,)``.
            note: Which images these are, for the description.
        """
        mask = self.training_only
        return replace(
            self,
            targets=self.targets[indices],
            training_only=None if mask is None else mask[indices],
            keys=[self.keys[index] for index in indices],
            description=f"{self.description}; {note}",
            **self._rows(indices),
        )

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """Returns the image at ``index``."""

    @abstractmethod
    def _rows(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        """The fields that a kind of source adds, restricted to the given images."""


@dataclass(frozen=True, eq=False)
class ArraySource(ImageSource):
    """A source whose images lie in memory as one array.

    Args:
        images: uint8 ``(n, h, w, c)``, ``c`` being 1 or 3; not copied.

    The other arguments are those of :class:`ImageSource`.
    """

    images: NDArray[np.uint8]

    def read(self, index: int) -> Image.Image:
        """Returns the image at ``index``."""
        pixels = self.images[index]
        return Image.fromarray(pixels[:, :, 0] if self.num_channels == 1 else pixels)

    def _rows(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        return {"images": self.images[indices]}


def position_keys(n: int) -> list[str]:
    """Keys of ``n`` images that have no names of their own.

    Example:
        >>> position_keys(2)
        ['000000', '000001']
    """
    return [f"{index:06d}" for index in range(n)]


def count_of_classes(
    targets: NDArray[np.int64], class_names: tuple[str, ...] | None
) -> str:
    """Number of classes, in words.

    Example:
        >>> count_of_classes(np.array([0, 2, 2, -1]), None)
        '2 classes, 1 image without a label'
        >>> count_of_classes(np.array([-1, -1]), None)
        'no labels'
    """
    unknown = int((targets < 0).sum())
    if unknown == len(targets):
        return "no labels"
    count = len(class_names or np.unique(targets[targets >= 0]))
    words = f"{count} class" if count == 1 else f"{count} classes"
    if unknown:
        words += f", {unknown:,} image{'s' * (unknown > 1)} without a label"
    return words
