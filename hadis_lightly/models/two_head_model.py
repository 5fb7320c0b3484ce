"""What models with an instance head and a cluster head have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.models.momentum_teacher import check_module, evaluating


class TwoHeadModel(nn.Module, ABC):
    """Features of an image, an instance head and a cluster head on top.

    A subclass says what the features are. The cluster head gives the cluster of any
    image at once, without k-means.

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
        """Returns the instance embeddings of clean images: :meth:`embed`."""
        return self.embed(x)

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """Embeds clean images.

        Args:
            x: Images under the plain test transform, ``(n, c, h, w)``.

        Returns:
            Instance embeddings in evaluation mode, L2-normalised float32, ``(n, d)``.
        """
        with evaluating(self):
            return _unit(self.instance_head(self.forward_features(x)))

    @torch.no_grad()
    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds clean images and assigns them to clusters, in one pass.

        Args:
            x: Images under the plain test transform, ``(n, c, h, w)``.

        Returns:
            What :meth:`embed` and :meth:`assign` return.
        """
        with evaluating(self):
            features = self.forward_features(x)
            embeddings = _unit(self.instance_head(features))
            return embeddings, self.cluster_head(features).float()

    @torch.no_grad()
    def assign(self, x: Tensor) -> Tensor:
        """Assigns clean images to clusters.

        Args:
            x: Images under the plain test transform, ``(n, c, h, w)``.

        Returns:
            Probabilities of the clusters in evaluation mode, float32, ``(n, k)``.
        """
        with evaluating(self):
            assignments: Tensor = self.cluster_head(self.forward_features(x)).float()
            return assignments

    def predict(self, x: Tensor) -> Tensor:
        """Returns the most probable cluster of each clean image, int64 ``(n,)``."""
        return self.assign(x).argmax(dim=1)


def check_image_batch(x: object) -> None:
    """Raises unless ``x`` is a floating point tensor of at least two dimensions."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x must be a floating point tensor of images, got {kind}.")
    if x.ndim < 2:
        raise ValueError(f"x must be a batch (n, c, h, w), got {tuple(x.shape)}.")


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.float(), dim=1)
