"""The order in which images come: a function of seed and epoch, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """The order of ``n`` images in every epoch, and the share of this process in it.

    The order is the same on all devices and in all processes. Of N processes the first
    takes the images at the places 0, N, 2N, ... of it, so that step by step their
    batches of B together are the batches of N * B that one process would take.

    Yields ``(epoch, index)``, for a :class:`ReproducibleDataset`.

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
        self._start = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def start_at(self, epoch: int, num_images: int) -> None:
        """Lets a resumed run go on where it was left.

        Args:
            epoch: The epoch that comes next.
            num_images: Images of this process to leave out of it, as done already.
        """
        self.epoch = epoch
        self._start = (epoch, num_images)

    @property
    def num_done(self) -> int:
        """Images of this process to leave out of the epoch that comes next."""
        epoch, num_images = self._start
        return num_images if epoch == self.epoch else 0

    def order(self) -> Tensor:
        """Indices of all images in the order of the epoch, int64 ``(n,)``."""
        if not self.shuffle:
            return torch.arange(self.n)
        entropy = np.random.SeedSequence([self.seed, self.epoch])
        seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.randperm(self.n, generator=torch.Generator().manual_seed(seed))

    def share(self) -> Tensor:
        """Indices of the images that this process takes in the epoch, in order."""
        order = self.order()
        if not self.shared:
            return order
        mine = order[lightly_dist.rank() :: lightly_dist.world_size()]
        return mine[: len(self)]

    def __len__(self) -> int:
        """Number of images that this process takes in a whole epoch."""
        if not self.shared:
            return self.n
        world_size = lightly_dist.world_size()
        left_over = 0 if self.even else lightly_dist.rank() < self.n % world_size
        return self.n // world_size + left_over

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Goes over the share of the epoch, or over what is left of it."""
        epoch = self.epoch
        for index in self.share()[self.num_done :].tolist():
            yield epoch, index
