"""Projection and prediction head of HaDis, on lightly's ``ProjectionHead``."""

from __future__ import annotations

from lightly.models.modules.heads import ProjectionHead
from torch import nn

from hadis_lightly.checks import check_integer, check_number


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
