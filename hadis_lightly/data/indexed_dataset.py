"""Adds to every sample of a dataset the index by which its pseudo-label is found."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset


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
        >>> dataset[1]
        ('B', 1, 1)
        >>> dataset[-2]
        ('A', 3, 0)
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
        position = operator.index(index)
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        item = self.dataset[position]
        sample, target = item, None
        if isinstance(item, tuple):
            sample, target = item[0], (item[1] if len(item) > 1 else None)
        if self.transform is not None:
            sample = self.transform(sample)
        try:
            return sample, _as_target(target), position
        except TypeError as error:
            raise TypeError(f"target of sample {position} {error}") from None

    @property
    def targets(self) -> NDArray[np.int64] | None:
        """The targets, int64 ``(n,)`` with -1 where unknown, read without a sample.

        ``None`` if the dataset does not offer them (as ``targets`` or ``labels``, or
        being a ``TensorDataset``, or a ``Subset`` or ``ConcatDataset`` of such).
        """
        return _targets_of(self.dataset)


def _as_target(target: Any) -> int:
    if target is None:
        return -1
    try:
        return max(operator.index(target), -1)
    except TypeError:
        raise TypeError(f"must be an integer or None, got {target!r}") from None


def _targets_of(dataset: Any) -> NDArray[np.int64] | None:
    if isinstance(dataset, Subset):
        targets = _targets_of(dataset.dataset)
        indices = np.asarray(dataset.indices, dtype=np.int64)  # there may be none
        return None if targets is None else targets[indices]
    if isinstance(dataset, ConcatDataset):
        parts = [_targets_of(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None
    values = _stored_targets(dataset)
    if values is None or len(values) != len(dataset):
        return None
    try:
        return np.array([_as_target(value) for value in values], dtype=np.int64)
    except TypeError:
        return None  # something else of that name, such as the files of masks


def _stored_targets(dataset: Any) -> Sequence[Any] | None:
    """What a dataset that holds its own targets holds, as its samples would show it."""
    values: Any = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) > 1:
        values = dataset.tensors[1]
    plain: Any = values.tolist() if hasattr(values, "tolist") else values
    if not hasattr(plain, "__len__") or isinstance(plain, (Mapping, str, bytes)):
        return None  # something else of that name: a method, one number for all ...
    # torchvision keeps its targets as they were before this.
    change = getattr(dataset, "target_transform", None)
    return [value if change is None else change(value) for value in plain]
