"""Random transforms whose draws depend on the image and the epoch alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


class ReproducibleDataset(Dataset[Any]):
    """A dataset whose random transforms draw alike, whoever reads a sample and when.

    Before a sample is read, the generators of PyTorch, NumPy and Python are seeded from
    seed, epoch and index. So neither the number of worker or training processes matters
    nor an interruption.

    Args:
        dataset: A map-style dataset.
        seed: Seed of the draws.

    It is read by the keys of :class:`EpochSampler`: ``(epoch, index)``, or ``(epoch,
    index, k)``, which gives an image that comes again draws of its own.

    Example:
        >>> class Noise(Dataset):
        ...     def __getitem__(self, index):
        ...         return float(torch.rand(()))
        >>> dataset = ReproducibleDataset(Noise(), seed=0)
        >>> dataset[3, 1] == dataset[3, 1] != dataset[4, 1]
        True
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, ...]) -> Any:
        """Returns the sample at ``(epoch, index)`` or ``(epoch, index, k)``."""
        epoch, index, *times = key
        with _seeded(self.seed, epoch, index, *times):
            return self.dataset[index]


@contextmanager
def _seeded(*entropy: int) -> Iterator[None]:
    """Seeds the global generators of the CPU, and puts them back afterwards."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    first, second = np.random.SeedSequence(entropy).generate_state(2, np.uint64)
    random.seed(int(first))
    np.random.seed(int(second) & 0xFFFFFFFF)  # noqa: NPY002
    # Not torch.manual_seed, which goes to all devices as well.
    torch.default_generator.manual_seed(int(first) >> 1)
    try:
        yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        torch.set_rng_state(state[2])
