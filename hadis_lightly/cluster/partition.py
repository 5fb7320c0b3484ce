"""What the clusters of a set have to offer, however they were found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor


class Clusters(Protocol):
    """What is known of the clusters of a set: labels, prototypes, how to predict.

    The outputs of a network are embeddings ``(n, d)`` and, where it has a cluster head,
    probabilities ``(n, k)``.
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
        """Of the outputs for some images: cluster of each, ``(n,)``."""

    @property
    def confidence(self) -> Callable[..., Tensor]:
        """How clearly each image lies with its cluster, in [0, 1], ``(n,)``."""

    @property
    def distance(self) -> Callable[..., Tensor]:
        """Distance of each image to the prototype of its cluster, ``(n,)``."""

    def to(self, device: torch.device | str) -> Clusters:
        """The same with all tensors on the device."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors alone, as they go into a checkpoint."""
