"""The order of the images: a function of seed and epoch, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch.utils.data import Sampler

from hadis_lightly.data.loading.even_order import even_order


class EpochSampler(Sampler[tuple[int, ...]]):
    """The order of ``n`` images in every epoch, and this process's share of it.

    The order is the same on all devices and in all processes. Of N processes the first
    takes the images at the places 0, N, 2N, ... of it, so that step by step their
    batches of B are together the batches of N * B that one process would take.

    With :attr:`cluster_labels` clusters come equally often: images of small clusters
    come several times in an epoch, and some of large ones not at all. Called when an
    epoch starts, it returns labels ``(n,)``, the same in all processes, or None for the
    usual order.

    Yields ``(epoch, index)``, for a :class:`ReproducibleDataset`; where an image comes
    again ``(epoch, index, k)``, for the k-th time after the first.

    Args:
        n: Number of images.
        shuffle: Whether each epoch has a random order of its own.
        seed: Seed of the orders.
        shared: With several processes, whether each takes a share, or all the images.
        even: Whether shares are of one size, for training: up to N - 1 images are left
            out of an epoch. Else every image is in exactly one share.
    """

    def __init__(
        self,
        n: int,
        shuffle: bool,
        seed: int,
        *,
        shared: bool = True,
        even: bool = True,
    ) -> None:
        self.n = n
        self.shuffle = shuffle
        self.seed = seed
        self.shared = shared
        self.even = even
        self.epoch = 0
        self.cluster_labels: Callable[[], Tensor | None] | None = None
        self._start = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def start_at(self, epoch: int, num_images: int) -> None:
        """Continues a run in an epoch of which this process has done some images."""
        self.epoch = epoch
        self._start = (epoch, num_images)

    @property
    def num_done(self) -> int:
        """Images of the coming epoch that this process has done already."""
        epoch, num_images = self._start
        return num_images if epoch == self.epoch else 0

    def order(self) -> Tensor:
        """Indices of the images in the order of the epoch, int64 ``(n,)``.

        Raises:
            ValueError: if there is not one cluster label for each image.
        """
        return self._drawn()[0]

    def share(self) -> Tensor:
        """Indices of the images that this process takes in the epoch, in order."""
        return self._mine(self.order())

    def __len__(self) -> int:
        """Number of images that this process takes in a whole epoch."""
        if not self.shared:
            return self.n
        world_size = lightly_dist.world_size()
        left_over = 0 if self.even else lightly_dist.rank() < self.n % world_size
        return self.n // world_size + left_over

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Goes over the share of the epoch, or over what is left of it."""
        epoch, done = self.epoch, self.num_done
        order, repeats = self._drawn()
        indices = self._mine(order)[done:].tolist()
        times = repeat(0) if repeats is None else self._mine(repeats)[done:].tolist()
        for index, time in zip(indices, times, strict=False):
            yield (epoch, index, time) if time else (epoch, index)

    def _drawn(self) -> tuple[Tensor, Tensor | None]:
        """The order of the epoch, and how often each image came before, if any did."""
        if not self.shuffle:
            return torch.arange(self.n), None
        entropy = np.random.SeedSequence([self.seed, self.epoch])
        seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
        generator = torch.Generator().manual_seed(seed)
        labels = None if self.cluster_labels is None else self.cluster_labels()
        if labels is None:
            return torch.randperm(self.n, generator=generator), None
        if labels.shape != (self.n,):
            raise ValueError(
                f"cluster labels must have shape ({self.n},), one for each image, "
                f"got {tuple(labels.shape)}"
            )
        return even_order(labels, generator)

    def _mine(self, values: Tensor) -> Tensor:
        if not self.shared:
            return values
        mine = values[lightly_dist.rank() :: lightly_dist.world_size()]
        return mine[: len(self)]
