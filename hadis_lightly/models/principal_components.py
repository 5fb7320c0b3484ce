"""Features reduced to their leading principal components."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.checks import check_integer
from hadis_lightly.precision import accurate_dtype, full_precision

# Rows that are looked at together, to keep float64 copies small.
_BLOCK = 4096
# Variance of rows of length 1 that is rounding of features kept in float16.
_ROUNDING = 1e-8


class PrincipalComponents(nn.Module):
    """Projects L2-normalised features onto their leading principal components.

    They are buffers, found once by :meth:`fit` and never trained. Heads on normalised
    and fewer features are faster and better (docs/results/features.md). All components
    are divided by one number, the standard deviation of the first.

    Args:
        input_dim: Number of features D.
        output_dim: Number of components m, at most D. Components that the features do
            not have, being too few, are 0.

    Shape: ``(..., D)`` to ``(..., m)``.

    Raises:
        ValueError: If a size is below 1, or there are more components than features.

    Example:
        >>> components = PrincipalComponents(2, 1)
        >>> x = torch.tensor([[3.0, 0.0], [-0.2, 0.0]])
        >>> components.fit(x)(x)
        tensor([[ 1.],
                [-1.]])
    """

    mean: Tensor
    components: Tensor

    def __init__(self, input_dim: int, output_dim: int) -> None:
        super().__init__()
        check_integer("input_dim", input_dim, least=1)
        check_integer("output_dim", output_dim, least=1)
        if output_dim > input_dim:
            raise ValueError(
                f"output_dim must be at most input_dim={input_dim}, got {output_dim}."
            )
        self.register_buffer("mean", torch.zeros(input_dim))
        self.register_buffer("components", torch.eye(input_dim, output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the reduced features, in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return (F.normalize(x.float(), dim=-1) - self.mean) @ self.components

    @full_precision()
    def fit(self, features: Tensor) -> PrincipalComponents:
        """Finds the components of features ``(n, D)``, n >= 2; returns itself.

        Raises:
            ValueError: If they have another shape.
        """
        d, m = self.components.shape
        if features.ndim != 2 or features.shape[1] != d or len(features) < 2:
            raise ValueError(
                f"features must be (n, {d}) with n >= 2, got {tuple(features.shape)}."
            )
        device = self.mean.device
        dtype = accurate_dtype(device)
        total = torch.zeros(d, dtype=dtype, device=device)
        for block in features.split(_BLOCK):  # type: ignore[no-untyped-call]
            total += F.normalize(block.to(device, dtype), dim=1).sum(dim=0)
        mean = total / len(features)
        scatter = torch.zeros(d, d, dtype=dtype, device=device)
        for block in features.split(_BLOCK):  # type: ignore[no-untyped-call]
            centered = F.normalize(block.to(device, dtype), dim=1) - mean
            scatter += centered.T @ centered
        variances, directions = torch.linalg.eigh((scatter / len(features)).cpu())
        variances, directions = variances.flip(0)[:m], directions.flip(1)[:, :m]
        # The signs of eigenvectors are arbitrary: the largest number is positive.
        largest = directions.abs().argmax(dim=0, keepdim=True)
        directions = directions * directions.gather(0, largest).sign()
        floor = (variances[0] * d * torch.finfo(torch.float32).eps).clamp_min(_ROUNDING)
        directions = directions * (variances > floor)
        directions = directions / variances[0].clamp_min(_ROUNDING).sqrt()
        self.mean.copy_(mean)
        self.components.copy_(directions)
        return self
