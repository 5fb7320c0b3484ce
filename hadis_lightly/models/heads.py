"""Projection and prediction head of HaDis, on lightly's ``ProjectionHead``."""

from __future__ import annotations

from lightly.models.modules.heads import ProjectionHead
from torch import nn

from hadis_lightly.checks import check_integer, check_number
from hadis_lightly.models.parallel import ParallelLinear, UnitParts


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

    NOTE: Several heads side by side are not in the paper. They start from different
    weights and see the same input; each gives an embedding of length 1, and the cosine
    of what they give together is the mean of theirs. With an
    :class:`HaDisPredictionHead` of as many they learn together what one alone may miss.

    Args:
        input_dim: Features of the backbone. 512 for a ResNet-18.
        hidden_dim: Width of the hidden layer, of each head. Paper: 4096.
        output_dim: Embedding size d, of each head. Paper: 256.
        n_heads: Number of heads H. Paper: 1, whose embedding keeps its length.

    Shape: ``(n, input_dim)`` to ``(n, H * output_dim)``.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self,
        input_dim: int = 512,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        n_heads: int = 1,
    ) -> None:
        check_integer("n_heads", n_heads, least=1)
        super().__init__(
            two_layers(input_dim, n_heads * hidden_dim, output_dim, batch_norm=True)
        )
        if n_heads > 1:
            self.layers[-1] = ParallelLinear(n_heads, hidden_dim, output_dim)
            self.layers.append(UnitParts(n_heads))


class HaDisPredictionHead(ProjectionHead):
    """Prediction head: as the projection head, with small initial weights [0].

    Args:
        input_dim: Embedding size d of the projections, of each head. Paper: 256.
        hidden_dim: Width of the hidden layer, of each head. Paper: 4096.
        output_dim: Embedding size d of the predictions, that of the teacher, of each
            head. Paper: 256.
        init_std: Standard deviation of the Gaussian initial weights; biases start at
            0. Paper: 0.01.
        n_heads: Number of heads H, as of the :class:`HaDisProjectionHead`.

    Shape: ``(n, H * input_dim)`` to ``(n, H * output_dim)``.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self,
        input_dim: int = 256,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        init_std: float = 0.01,
        n_heads: int = 1,
    ) -> None:
        check_number("init_std", init_std, 0)
        check_integer("n_heads", n_heads, least=1)
        super().__init__(
            two_layers(input_dim, n_heads * hidden_dim, output_dim, batch_norm=True)
        )
        if n_heads > 1:
            self.layers[0] = ParallelLinear(n_heads, input_dim, hidden_dim)
            self.layers[-1] = ParallelLinear(n_heads, hidden_dim, output_dim)
            self.layers.append(UnitParts(n_heads))
        for layer in self.layers:
            if isinstance(layer, (nn.Linear, ParallelLinear)):
                nn.init.normal_(layer.weight, std=init_std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
