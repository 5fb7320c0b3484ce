"""Whitening: principal components of equal weight."""

from __future__ import annotations

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd import accurate_dtype
from hadis_lightly.cluster.prepare import check_finite
from hadis_lightly.precision import full_precision


class Whitening:
    r"""Projects onto the leading principal components, each scaled to variance 1.

    k-means takes every direction at its length. Where few directions carry most of
    the variance, it splits what varies and merges what differs in the others; among
    components of equal weight it does not. The components beyond the effective
    dimension are noise, which whitening would raise, and are left out.

    Args:
        min_components: Lower bound of the number of components, as far as the data
            have them. K clusters need at least K - 1 to be told apart.

    Attributes:
        mean_: Mean of the rows, ``(d,)``.
        components_: Scaled components, ``(d, n_components_)``.
        n_components_: The participation ratio of the eigenvalues of the covariance,
            :math:`(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2`, rounded: d for a ball,
            1 for a line.

    Example:
        >>> X = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> Whitening(min_components=2).fit(X).transform(X).abs().max(dim=0).values
        tensor([1.4142, 1.4142])
    """

    mean_: Tensor
    components_: Tensor
    n_components_: int

    def __init__(self, min_components: int = 1) -> None:
        self.min_components = min_components

    @full_precision()
    def fit(self, X: Tensor) -> Whitening:
        """Finds the components of the rows ``(n, d)``; n must be at least 2.

        Raises:
            ValueError: If X is not ``(n, d)`` with n >= 2, a value is not finite, or
                all rows are equal.
        """
        if X.ndim != 2 or len(X) < 2:
            raise ValueError(f"X must be (n, d) with n >= 2, got {tuple(X.shape)}.")
        check_finite(X, name="X")
        wide = X.to(accurate_dtype(X.device))
        mean = wide.mean(dim=0)
        centered = wide - mean
        covariance = centered.T @ centered / len(X)
        variances, directions = torch.linalg.eigh(covariance)
        variances, directions = variances.flip(0), directions.flip(1)
        floor = variances[0] * len(variances) * torch.finfo(X.dtype).eps
        rank = int((variances > floor.clamp_min(0)).sum())
        if rank == 0:
            raise ValueError("X has no variance: all rows are equal.")
        effective = variances.sum().square() / variances.square().sum()
        wanted = max(self.min_components, round(float(effective)))
        self.n_components_ = min(wanted, rank)
        leading = slice(0, self.n_components_)
        components = directions[:, leading] / variances[leading].sqrt()
        self.mean_ = mean.to(X.dtype)
        self.components_ = components.to(X.dtype)
        return self

    @full_precision()
    def transform(self, X: Tensor) -> Tensor:
        """Returns the whitened rows, ``(n, n_components_)``."""
        return (X - self.mean_) @ self.components_

    def to(self, device: torch.device | str) -> Whitening:
        """A copy with its tensors on the device."""
        state = self.state_dict()
        return Whitening.from_state_dict(
            {name: value.to(device) for name, value in state.items()}
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Mean and components."""
        return {"mean": self.mean_, "components": self.components_}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> Whitening:
        """Makes a fitted whitening out of what :meth:`state_dict` gave."""
        whitening = cls()
        whitening.mean_, whitening.components_ = state["mean"], state["components"]
        whitening.n_components_ = whitening.components_.shape[1]
        return whitening
