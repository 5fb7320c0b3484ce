"""What models with an instance head and a cluster head have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.models.checks import check_module
from hadis_lightly.models.evaluation_mode import evaluating


class TwoHeadModel(nn.Module, ABC):
    """Features of an image, with an instance head and a cluster head on top.

    A subclass says what the features are. :meth:`embed`, :meth:`assign`,
    :meth:`embed_and_assign` and :meth:`predict` take plain images ``(n, c, h, w)``,
    that is under the test transform, and run in evaluation mode without a gradient.
    The cluster head gives the cluster of any image at once, without k-means.

    Args:
        instance_head: From features to instance embeddings ``(n, d)``.
        cluster_head: From features to probabilities of the clusters ``(n, k)``.
    """

    def __init__(self, instance_head: nn.Module, cluster_head: nn.Module) -> None:
        super().__init__()
        check_module("instance_head", instance_head)
        check_module("cluster_head", cluster_head)
        self.instance_head = instance_head
        self.cluster_head = cluster_head

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Returns the features ``(n, d)`` that the heads are given."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns the instance embeddings of plain images: :meth:`embed`."""
        return self.embed(x)

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """Returns instance embeddings, L2-normalised float32, ``(n, d)``."""
        with evaluating(self):
            return _unit(self.instance_head(self.forward_features(x)))

    @torch.no_grad()
    def assign(self, x: Tensor) -> Tensor:
        """Returns probabilities of the clusters, float32, ``(n, k)``."""
        with evaluating(self):
            assignments: Tensor = self.cluster_head(self.forward_features(x)).float()
            return assignments

    @torch.no_grad()
    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what :meth:`embed` and :meth:`assign` return, from one pass."""
        with evaluating(self):
            features = self.forward_features(x)
            embeddings = _unit(self.instance_head(features))
            return embeddings, self.cluster_head(features).float()

    def predict(self, x: Tensor) -> Tensor:
        """Returns the most probable cluster of each image, int64 ``(n,)``."""
        return self.assign(x).argmax(dim=1)


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.float(), dim=1)
