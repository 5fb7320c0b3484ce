"""Several heads side by side, in one matrix product each."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.checks import check_integer


class ParallelLinear(nn.Module):
    """H linear layers, each for its own part of the input.

    Args:
        n_heads: Number of layers H.
        input_dim: Inputs of each.
        output_dim: Outputs of each.

    Shape: ``(n, H * input_dim)`` to ``(n, H * output_dim)``.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> ParallelLinear(3, 4, 2)(torch.rand(5, 12)).shape
        torch.Size([5, 6])
    """

    def __init__(self, n_heads: int, input_dim: int, output_dim: int) -> None:
        super().__init__()
        for name in ("n_heads", "input_dim", "output_dim"):
            check_integer(name, locals()[name], least=1)
        self.n_heads = n_heads
        # As in PyTorch's linear layers.
        bound = 1 / math.sqrt(input_dim)
        weight = torch.empty(n_heads, input_dim, output_dim).uniform_(-bound, bound)
        bias = torch.empty(n_heads, 1, output_dim).uniform_(-bound, bound)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs of all layers, side by side."""
        parts = x.reshape(x.shape[0], self.n_heads, -1).transpose(0, 1)  # (H, n, d)
        outputs = torch.baddbmm(self.bias, parts, self.weight)
        return outputs.transpose(0, 1).flatten(start_dim=1)


class UnitParts(nn.Module):
    """Gives each of H parts of a row length 1.

    The cosine of two such rows is the mean of the cosines of their parts.

    Args:
        n_heads: Number of parts H.

    Shape: ``(n, H * d)`` to ``(n, H * d)``.

    Example:
        >>> UnitParts(2)(torch.tensor([[3.0, 4.0, 0.0, 2.0]]))
        tensor([[0.6000, 0.8000, 0.0000, 1.0000]])
    """

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        check_integer("n_heads", n_heads, least=1)
        self.n_heads = n_heads

    def forward(self, x: Tensor) -> Tensor:
        """Returns the rows, each part of length 1."""
        parts = x.reshape(x.shape[0], self.n_heads, -1)
        return F.normalize(parts, dim=2).flatten(start_dim=1)
