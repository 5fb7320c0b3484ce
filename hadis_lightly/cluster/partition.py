"""What the clusters of a set offer, however they were found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor


class Partition(Protocol):
    """The clusters of a set: labels, prototypes, and the cluster of a new image.

    ``predict``, ``confidence`` and ``distance`` take the outputs of a network:
    embeddings ``(n, d)`` and, where it has a cluster head, probabilities ``(n, k)``.
    """

    @property
    def labels(self) -> Tensor:
        """Cluster of every image, ``(n,)``."""

    @property
    def prototypes(self) -> Tensor:
        """Normalised mean of the embeddings of every cluster, ``(k, d)``."""

    @property
    def n_clusters(self) -> int:
        """Number of clusters k."""

    @property
    def predict(self) -> Callable[..., Tensor]:
        """Cluster of each image, ``(n,)``."""

    @property
    def confidence(self) -> Callable[..., Tensor]:
        """How clearly each image belongs to its cluster, in [0, 1], ``(n,)``."""

    @property
    def distance(self) -> Callable[..., Tensor]:
        """Distance of each image from the middle of its cluster, ``(n,)``."""

    def to(self, device: torch.device | str) -> Partition:
        """The same with all tensors on the device."""

    def state_dict(self) -> dict[str, Any]:
        """The tensors, for a checkpoint."""
