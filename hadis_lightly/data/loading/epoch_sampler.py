"""The order of the images: a function of seed and epoch, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch.utils.data import Sampler

from hadis_lightly.checks import check_integer


class EpochSampler(Sampler[tuple[int, ...]]):
    """The order of ``n`` images in every epoch, and this process's share of it.

    The order is the same on all devices and in all processes. Of N processes the first
    takes the images at places 0, N, 2N, ... of it, so that in each step their batches
    of B are together the batch of N * B that one process would take.

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
        even: Whether shares are of one size, for training: up to N - 1 images are left
            out of an epoch. Else every image is in exactly one share.
        passes: How often an epoch goes over all images, each time in another order;
            for sets so small that an epoch would have few steps.

    Raises:
        ValueError: if ``passes < 1``.
    """

    def __init__(
        self, n: int, shuffle: bool, seed: int, *, even: bool = True, passes: int = 1
    ) -> None:
        check_integer("passes", passes, least=1)
        self.n = n
        self.passes = passes
        self.shuffle = shuffle
        self.seed = seed
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
        """Indices of the images in the order of the epoch, int64 ``(passes * n,)``."""
        return self._drawn()[0]

    def share(self) -> Tensor:
        """Indices of the images that this process takes in the epoch, in order."""
        return self.share_and_repeats()[0]

    def share_and_repeats(self) -> tuple[Tensor, Tensor]:
        """The share, and how often each of its images came before, int64 ``(m,)``."""
        order, repeats = self._drawn()
        return self._mine(order), self._mine(repeats)

    def __len__(self) -> int:
        """Number of images that this process takes in a whole epoch."""
        world_size, num_drawn = lightly_dist.world_size(), self.passes * self.n
        left_over = 0 if self.even else lightly_dist.rank() < num_drawn % world_size
        return num_drawn // world_size + left_over

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Goes over the share of the epoch, or over what is left of it."""
        epoch, done = self.epoch, self.num_done
        drawn = (values[done:].tolist() for values in self.share_and_repeats())
        for index, repeat in zip(*drawn, strict=True):
            yield (epoch, index, repeat) if repeat else (epoch, index)

    def _drawn(self) -> tuple[Tensor, Tensor]:
        """The order of the epoch, and a number that differs where an image repeats.

        Both ``(passes * n,)``; the number is 0 where an image comes first.
        """
        orders, repeats = zip(*map(self._drawn_once, range(self.passes)), strict=True)
        numbers = (number * self.passes + again for again, number in enumerate(repeats))
        return torch.cat(orders), torch.cat(list(numbers))

    def _drawn_once(self, again: int) -> tuple[Tensor, Tensor]:
        """The order of a pass, and how often each image came before in it, ``(n,)``."""
        never = torch.zeros(self.n, dtype=torch.int64)
        if not self.shuffle:
            return torch.arange(self.n), never
        entropy = np.random.SeedSequence(
            [self.seed, self.epoch, *[again] * (again > 0)]
        )
        seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
        generator = torch.Generator().manual_seed(seed)
        labels = None if self.cluster_labels is None else self.cluster_labels()
        if labels is None:
            return torch.randperm(self.n, generator=generator), never
        if labels.shape != (self.n,):
            raise ValueError(
                f"cluster labels must have shape ({self.n},), one for each image, "
                f"got {tuple(labels.shape)}"
            )
        return _even_order(labels.cpu(), generator)

    def _mine(self, values: Tensor) -> Tensor:
        mine = values[lightly_dist.rank() :: lightly_dist.world_size()]
        return mine[: len(self)]


def _even_order(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws ``n`` of ``n`` images so that all clusters have the same share.

    Of k clusters that have images each gives ``n / k``, up to rounding: a random
    permutation of its images, repeated as needed. All draws are then shuffled.

    NOTE: HaDis' and ProPos' code draws with replacement, with weights that make the
    clusters equally likely. Shares are the same on average, but in large clusters some
    images would come several times while others do not come at all.

    Returns:
        Image at each place, and how often it has been drawn before, both ``(n,)``.
    """
    n = len(labels)
    _, clusters, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    k = len(sizes)
    # The images of a cluster in a random order, cluster after cluster.
    shuffled = torch.randperm(n, generator=generator)
    grouped = shuffled[clusters[shuffled].argsort(stable=True)]
    shares = torch.full((k,), n // k)
    shares[torch.randperm(k, generator=generator)[: n % k]] += 1
    cluster = torch.arange(k).repeat_interleave(shares)  # (n,), of each draw
    number = torch.arange(n) - (shares.cumsum(0) - shares)[cluster]  # in its cluster
    first = (sizes.cumsum(0) - sizes)[cluster]
    indices = grouped[first + number % sizes[cluster]]
    repeats = number // sizes[cluster]
    places = torch.randperm(n, generator=generator)
    return indices[places], repeats[places]
