"""Projection and prediction head of HaDis, on lightly's ``ProjectionHead``."""

from __future__ import annotations

from lightly.models.modules.heads import ProjectionHead
from torch import nn

from hadis_lightly.checks import check_integer, check_number


class HaDisProjectionHead(ProjectionHead):
    """Projection head: Linear, BatchNorm, ReLU, Linear, as in BYOL and HaDis [0].

    Args:
        input_dim: Features of the backbone. 512 for a ResNet-18.
        hidden_dim: Width of the hidden layer. Paper: 4096.
        output_dim: Embedding size d. Paper: 256.

    Shape: ``(n, input_dim)`` to ``(n, output_dim)``.

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is below 1.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self, input_dim: int = 512, hidden_dim: int = 4096, output_dim: int = 256
    ) -> None:
        _check_sizes(input_dim, hidden_dim, output_dim)
        super().__init__(
            [
                (input_dim, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU()),
                (hidden_dim, output_dim, None, None),
            ]
        )


class HaDisPredictionHead(ProjectionHead):
    """Prediction head: as the projection head, with small initial weights [0].

    Args:
        input_dim: Embedding size d of the projections. Paper: 256.
        hidden_dim: Width of the hidden layer. Paper: 4096.
        output_dim: Embedding size d of the predictions, as large as the teacher's.
            Paper: 256.
        init_std: Standard deviation of the initial weights, which are Gaussian;
            biases start at 0. Paper: 0.01.

    Shape: ``(n, input_dim)`` to ``(n, output_dim)``.

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is below 1.

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
        _check_sizes(input_dim, hidden_dim, output_dim)
        super().__init__(
            [
                (input_dim, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU()),
                (hidden_dim, output_dim, None, None),
            ]
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=init_std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def _check_sizes(input_dim: int, hidden_dim: int, output_dim: int) -> None:
    check_integer("input_dim", input_dim, least=1)
    check_integer("hidden_dim", hidden_dim, least=1)
    check_integer("output_dim", output_dim, least=1)
