"""The heads of HaDis and Contrastive Clustering, on lightly's ``ProjectionHead``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from hadis_lightly.checks import check_integer, check_number
from hadis_lightly.precision import at_least_float32


def two_layers(
    input_dim: int, hidden_dim: int | None, output_dim: int, batch_norm: bool = False
) -> list[tuple[int, int, nn.Module | None, nn.Module | None]]:
    """Two linear layers for ``ProjectionHead``, with a ReLU in between."""
    check_integer("input_dim", input_dim, least=1)
    hidden_dim = input_dim if hidden_dim is None else hidden_dim
    check_integer("hidden_dim", hidden_dim, least=1)
    check_integer("output_dim", output_dim, least=1)
    norm = nn.BatchNorm1d(hidden_dim) if batch_norm else None
    return [
        (input_dim, hidden_dim, norm, nn.ReLU()),
        (hidden_dim, output_dim, None, None),
    ]


class HaDisProjectionHead(ProjectionHead):
    """Projection head: Linear, BatchNorm, ReLU, Linear, as in BYOL and HaDis [0].

    Args:
        input_dim: Features of the backbone. 512 for a ResNet-18.
        hidden_dim: Width of the hidden layer. Paper: 4096.
        output_dim: Embedding size d. Paper: 256.

    Shape: ``(n, input_dim)`` to ``(n, output_dim)``.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self, input_dim: int = 512, hidden_dim: int = 4096, output_dim: int = 256
    ) -> None:
        super().__init__(two_layers(input_dim, hidden_dim, output_dim, batch_norm=True))


class HaDisPredictionHead(ProjectionHead):
    """Prediction head: as the projection head, with small initial weights [0].

    Args:
        input_dim: Embedding size d of the projections. Paper: 256.
        hidden_dim: Width of the hidden layer. Paper: 4096.
        output_dim: Embedding size d of the predictions, that of the teacher.
            Paper: 256.
        init_std: Standard deviation of the Gaussian initial weights; biases start at
            0. Paper: 0.01.

    Shape: ``(n, input_dim)`` to ``(n, output_dim)``.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self,
        input_dim: int = 256,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        init_std: float = 0.01,
    ) -> None:
        check_number("init_std", init_std, 0)
        super().__init__(two_layers(input_dim, hidden_dim, output_dim, batch_norm=True))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=init_std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


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
