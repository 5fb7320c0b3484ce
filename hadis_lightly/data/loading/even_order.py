"""An order in which every cluster comes equally often."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class EvenOrder(NamedTuple):
    """Which images come in an epoch, in order."""

    indices: Tensor
    """Image at each place, int64 ``(n,)``."""
    repeats: Tensor
    """How often it has been drawn already, 0 for the first time, int64 ``(n,)``."""


def even_order(labels: Tensor, generator: torch.Generator) -> EvenOrder:
    """Draws ``n`` of ``n`` images so that all clusters have the same share.

    Of k clusters that have images each gives ``n / k``, up to rounding: a random
    permutation of its images, repeated as needed, so that two images of a cluster
    differ by one draw at most. The draws of all clusters are then shuffled.

    NOTE: HaDis' and ProPos' code draws with replacement, with weights that make the
    clusters equally likely. Shares are the same on average, but in large clusters some
    images would come several times while others do not come at all.

    Args:
        labels: Cluster of every image, ``(n,)``; equal numbers are one cluster.
        generator: Where the draws come from, on the CPU.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 0, 7])
        >>> drawn = even_order(labels, torch.Generator().manual_seed(0))
        >>> labels[drawn.indices].bincount()
        tensor([3, 0, 0, 0, 0, 0, 0, 3])
    """
    n = len(labels)
    if n == 0:
        return EvenOrder(torch.empty(0).long(), torch.empty(0).long())
    _, clusters, sizes = torch.unique(
        labels.cpu(), return_inverse=True, return_counts=True
    )
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
    return EvenOrder(indices[places], repeats[places])
