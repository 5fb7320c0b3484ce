"""The partition that a network's cluster head gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.cluster.lloyd.arrays import to_device
from hadis_lightly.cluster.lloyd.assign import chunks, cluster_sums, to_centers


@dataclass(frozen=True)
class HeadPartition:
    """Clusters of a set of images by the cluster head of a network.

    The network gives embeddings ``(n, d)`` and the head's probabilities ``(n, k)``. The
    label is the most probable cluster. Prototypes play no part in labels; they tell how
    far an image lies from the rest of its cluster.
    """

    labels: Tensor
    """Cluster of every image, ``(n,)``."""
    prototypes: Tensor
    """Normalised mean of the embeddings of every cluster, ``(k, d)``; for a cluster
    without images the embedding of the image for which it is most probable."""

    @classmethod
    def of(cls, embeddings: Tensor, probabilities: Tensor) -> HeadPartition:
        """The clusters of a set.

        Args:
            embeddings: L2-normalised, ``(n, d)``.
            probabilities: Rows that sum to 1, ``(n, k)``.

        Raises:
            ValueError: If their numbers differ or are 0.

        Example:
            >>> embeddings = torch.eye(3)
            >>> probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
            >>> HeadPartition.of(embeddings, probabilities).labels
            tensor([0, 0, 1])
        """
        if len(embeddings) != len(probabilities) or len(embeddings) == 0:
            raise ValueError(
                f"embeddings and probabilities must have the same number of rows, "
                f"at least 1, got {len(embeddings)} and {len(probabilities)}."
            )
        labels = probabilities.argmax(dim=1)
        sums, counts = cluster_sums(embeddings, labels, probabilities.shape[1])
        # Also where the embeddings of a cluster cancel out; never one of zeros.
        is_zero = ~embeddings.any(dim=1, keepdim=True)
        likeliest = embeddings[probabilities.masked_fill(is_zero, -1).argmax(dim=0)]
        return cls(labels, to_centers(sums, counts, likeliest, metric="cosine"))

    @property
    def n_clusters(self) -> int:
        """Number of clusters k."""
        return len(self.prototypes)

    def predict(self, embeddings: Tensor, probabilities: Tensor) -> Tensor:
        """Most probable cluster of each image, ``(n,)``."""
        return probabilities.argmax(dim=1)

    def confidence(self, embeddings: Tensor, probabilities: Tensor) -> Tensor:
        """Probability of that cluster, in [0, 1], ``(n,)``."""
        return probabilities.amax(dim=1)

    def distance(self, embeddings: Tensor, probabilities: Tensor) -> Tensor:
        """Distance of each embedding from the prototype of its cluster, ``(n,)``.

        Euclidean, between vectors of length one: 0 for the same direction, 2 for
        opposite ones; 1.41, as for a right angle, for an embedding of zeros.
        """
        prototypes = self.prototypes.to(embeddings)
        labels = probabilities.argmax(dim=1)
        distances = embeddings.new_empty(len(embeddings))
        for part in chunks(len(embeddings), embeddings.shape[1]):
            rows = F.normalize(embeddings[part], dim=1)
            apart = torch.linalg.vector_norm(rows - prototypes[labels[part]], dim=1)
            distances[part] = apart.masked_fill(~rows.any(dim=1), 2**0.5)
        return distances

    def to(self, device: torch.device | str) -> HeadPartition:
        """The partition with all tensors on the device."""
        prototypes = to_device(self.prototypes, device)
        return HeadPartition(self.labels.to(device), prototypes)

    def state_dict(self) -> dict[str, Any]:
        """The tensors, for a checkpoint."""
        return {"labels": self.labels, "prototypes": self.prototypes}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> HeadPartition:
        """The partition that :meth:`state_dict` was called on."""
        return cls(**state)
