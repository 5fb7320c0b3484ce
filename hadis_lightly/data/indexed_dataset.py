"""Adds to every sample of a dataset the index by which its pseudo-label is found."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch.utils.data import Dataset


class IndexedDataset(Dataset[tuple[Any, int, int]]):
    """Wraps a map-style dataset so that it gives ``(sample, target, index)``.

    Args:
        dataset: Gives ``(sample, target)``, ``(sample, target, ...)`` of which the rest
            is dropped, or bare samples. Only a tuple is taken apart: a list, such as
            the views of a lightly transform, is a sample.
        transform: Applied to every sample, if given.

    The target is an int, -1 where there is none (no target, ``None``, or negative). The
    index is the position in this dataset.

    Raises:
        TypeError: if ``dataset`` has no length or no ``[index]``, or, when a sample is
            read, if its target is not an integer.

    Example:
        >>> dataset = IndexedDataset([("a", 3), ("b", 1)], transform=str.upper)
        >>> dataset[1], dataset[-2]
        (('B', 1, 1), ('A', 3, 0))
    """

    def __init__(
        self, dataset: Any, transform: Callable[[Any], Any] | None = None
    ) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                "dataset must have a length and be read by index, got "
                f"{type(dataset).__name__}"
            )
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, int, int]:
        """Returns the transformed sample, its target and its index."""
        position = range(len(self))[index]  # from 0; IndexError out of range
        item = self.dataset[position]
        sample, *rest = item if isinstance(item, tuple) else (item,)
        target = rest[0] if rest and rest[0] is not None else -1
        if self.transform is not None:
            sample = self.transform(sample)
        try:
            return sample, max(operator.index(target), -1), position
        except TypeError:
            raise TypeError(
                f"target of sample {position} must be an integer or None, got "
                f"{target!r}"
            ) from None
