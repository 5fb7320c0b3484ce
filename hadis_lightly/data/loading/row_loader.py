"""Batches of a set that stays where the training is: an index instead of a copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hadis_lightly.data.loading.epoch_sampler import EpochSampler


class RowLoader(ABC):
    """Batches ``(x, targets, indices)`` of a set of which a subclass reads rows.

    An epoch is a permutation and a batch is an index: no worker processes, no copies
    from the host. Lightning takes it as it takes a ``DataLoader``. One epoch follows
    the other, unless :attr:`sampler` is told another. With several processes each holds
    the whole set and goes over its share (:class:`EpochSampler`), with ``drop_last`` of
    one size.

    Args:
        n: Number of images.
        targets: Class numbers ``(n,)``; -1 everywhere if left out.
        batch_size: Images per batch and process.
        shuffle: Whether each epoch has a random order of its own.
        drop_last: Whether to leave out a last batch that is not full.
        device: Where the set stays.
        seed: Seed of the orders, which depend on it and on the epoch alone.
        passes: How often an epoch goes over the set.

    Raises:
        ValueError: if ``targets`` has another shape, or ``batch_size < 1`` or
            ``passes < 1``.
    """

    def __init__(
        self,
        n: int,
        targets: ArrayLike | Tensor | None,
        batch_size: int,
        *,
        shuffle: bool,
        drop_last: bool,
        device: torch.device | str,
        seed: int,
        passes: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        numbers = torch.full((n,), -1) if targets is None else torch.as_tensor(targets)
        if numbers.shape != (n,):
            raise ValueError(
                f"targets must have shape ({n},), got {tuple(numbers.shape)}"
            )
        self.device = torch.device(device)
        self.targets = numbers.long().to(self.device)
        self.batch_size = batch_size
        self.drop_last = drop_last
        # Lightning announces the epoch to these two.
        self.sampler = EpochSampler(n, shuffle, seed, even=drop_last, passes=passes)
        self.batch_sampler = None

    @abstractmethod
    def read(self, rows: Tensor, repeats: Tensor, epoch: int) -> Any:
        """The images or features of a batch.

        Args:
            rows: Their indices, int64 ``(m,)``, on the device.
            repeats: How often each came before in the epoch, int64 ``(m,)``.
            epoch: Number of the epoch.
        """

    def __len__(self) -> int:
        """Number of batches of this process in a whole epoch."""
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """Goes over one epoch, or over what is left of it."""
        share = self.sampler.share_and_repeats()
        order, repeats = (values.to(self.device) for values in share)
        epoch, first = self.sampler.epoch, self.sampler.num_done // self.batch_size
        self.sampler.epoch += 1
        for number in range(first, len(self)):
            start = number * self.batch_size
            batch = slice(start, start + self.batch_size)
            rows = order[batch]
            x = self.read(rows, repeats[batch], epoch)
            yield x, self.targets.index_select(0, rows), rows
