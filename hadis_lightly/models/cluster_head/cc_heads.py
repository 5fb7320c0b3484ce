"""The two heads of Contrastive Clustering, on lightly's ``ProjectionHead``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.models.heads import two_layers
from hadis_lightly.precision import at_least_float32


class CCInstanceHead(ProjectionHead):
    """Instance head: Linear, ReLU, Linear, rows of length 1, as in CC [0].

    Args:
        input_dim: Features of the backbone. 512 for a ResNet-34.
        hidden_dim: Width of the hidden layer; by default ``input_dim``, as in the
            paper.
        output_dim: Embedding size d. Paper: 128.

    Shape: ``(n, input_dim)`` to ``(n, output_dim)``, L2-normalised; at least float32.

    Example:
        >>> CCInstanceHead(8, output_dim=2)(torch.rand(3, 8)).norm(dim=1).round()
        tensor([1., 1., 1.], grad_fn=<RoundBackward0>)

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    """

    def __init__(
        self, input_dim: int = 512, hidden_dim: int | None = None, output_dim: int = 128
    ) -> None:
        super().__init__(two_layers(input_dim, hidden_dim, output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Returns instance embeddings of length 1."""
        embeddings = super().forward(x)
        with torch.autocast(device_type=x.device.type, enabled=False):
            return F.normalize(at_least_float32(embeddings), dim=1)


class CCClusterHead(ProjectionHead):
    """Cluster head: Linear, ReLU, Linear, softmax over the clusters, as in CC [0].

    Args:
        input_dim: Features of the backbone. 512 for a ResNet-34.
        n_clusters: Number of clusters k, at least 2.
        hidden_dim: Width of the hidden layer; by default ``input_dim``, as in the
            paper.

    Shape: ``(n, input_dim)`` to ``(n, k)``, rows sum to 1; at least float32.

    Example:
        >>> head = CCClusterHead(8, n_clusters=3)
        >>> head(torch.rand(2, 8)).sum(dim=1).round()
        tensor([1., 1.], grad_fn=<RoundBackward0>)

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    """

    def __init__(
        self, input_dim: int, n_clusters: int, hidden_dim: int | None = None
    ) -> None:
        check_integer("n_clusters", n_clusters, least=2)
        super().__init__(two_layers(input_dim, hidden_dim, n_clusters))
        self.n_clusters = n_clusters

    def forward(self, x: Tensor) -> Tensor:
        """Returns the probabilities of the clusters."""
        return assignments_of(self.logits(x))

    def logits(self, x: Tensor) -> Tensor:
        """Returns the logits of the softmax, ``(n, k)``."""
        logits: Tensor = super().forward(x)
        return logits


def assignments_of(logits: Tensor) -> Tensor:
    """Probabilities of the clusters from logits, ``(n, k)``, in at least float32."""
    with torch.autocast(device_type=logits.device.type, enabled=False):
        return at_least_float32(logits).softmax(dim=1)
