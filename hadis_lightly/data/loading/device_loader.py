"""Batches of images that stay where the training is: an index instead of a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hadis_lightly.data.loading.epoch_sampler import EpochSampler


class DeviceLoader:
    """Batches ``(images, targets, indices)`` of a set that stays on one device.

    An epoch is a permutation and a batch is an index: no worker processes, no copies
    from the host. Lightning takes it as it takes a ``DataLoader``. One epoch follows
    the other, unless :attr:`sampler` is told another. With several processes each holds
    the whole set and goes over its share (:class:`EpochSampler`), with ``drop_last`` of
    one size.

    Args:
        images: uint8 ``(n, c, h, w)``, moved to the device once.
        targets: Class numbers ``(n,)``; -1 everywhere if left out.
        batch_size: Images per batch and process.
        shuffle: Whether each epoch has a random order of its own.
        drop_last: Whether to leave out a last batch that is not full.
        device: Where the images stay; by default where they are.
        seed: Seed of the orders, which depend on it and on the epoch alone.
        transform: Applied to every batch of images, if given.

    Raises:
        TypeError: if the images are not uint8.
        ValueError: if a shape does not fit, or ``batch_size < 1``.

    Example:
        >>> images = torch.zeros(10, 3, 8, 8, dtype=torch.uint8)
        >>> loader = DeviceLoader(images, batch_size=4, shuffle=True, drop_last=True)
        >>> for batch, targets, indices in loader:
        ...     print(batch.shape, indices.shape)
        torch.Size([4, 3, 8, 8]) torch.Size([4])
        torch.Size([4, 3, 8, 8]) torch.Size([4])
    """

    def __init__(
        self,
        images: Tensor,
        targets: ArrayLike | Tensor | None = None,
        batch_size: int = 256,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        device: torch.device | str | None = None,
        seed: int = 0,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        if images.dtype != torch.uint8:
            raise TypeError(f"images must be uint8 (0 to 255), got {images.dtype}")
        if images.ndim != 4:
            raise ValueError(
                f"images must have shape (n, c, h, w), got {tuple(images.shape)}"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        n = len(images)
        numbers = torch.full((n,), -1) if targets is None else torch.as_tensor(targets)
        if numbers.shape != (n,):
            raise ValueError(
                f"targets must have shape ({n},), got {tuple(numbers.shape)}"
            )
        self.device = torch.device(images.device if device is None else device)
        self.images = images.to(self.device)
        self.targets = numbers.long().to(self.device)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.transform = transform
        # Lightning announces the epoch to these two.
        self.sampler = EpochSampler(n, shuffle, seed, even=drop_last)
        self.batch_sampler = None

    def __len__(self) -> int:
        """Number of batches of this process in a whole epoch."""
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """Goes over one epoch, or over what is left of it."""
        order = self.sampler.share().to(self.device)
        first = self.sampler.num_done // self.batch_size
        self.sampler.epoch += 1
        for number in range(first, len(self)):
            start = number * self.batch_size
            rows = order[start : start + self.batch_size]
            images = self.images.index_select(0, rows)
            if self.transform is not None:
                images = self.transform(images)
            yield images, self.targets.index_select(0, rows), rows
