"""Random transforms whose draws depend on the image and the epoch alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


class ReproducibleDataset(Dataset[Any]):
    """A dataset whose random transforms draw alike, whoever reads a sample and when.

    While a sample is read, the generators of PyTorch, NumPy and Python are seeded from
    seed, epoch and index, so that neither the number of processes nor an interruption
    matters.

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
        first, second = np.random.SeedSequence([self.seed, *key]).generate_state(
            2, np.uint64
        )
        states = random.getstate(), np.random.get_state()  # noqa: NPY002
        with torch.random.fork_rng(devices=[]):
            random.seed(int(first))
            np.random.seed(int(second) & 0xFFFFFFFF)  # noqa: NPY002
            # Not torch.manual_seed, which goes to all devices as well.
            torch.default_generator.manual_seed(int(first) >> 1)
            try:
                return self.dataset[key[1]]
            finally:
                random.setstate(states[0])
                np.random.set_state(states[1])  # noqa: NPY002
