"""Whitening of a shrunk covariance: principal components of nearly equal weight."""

from __future__ import annotations

import numpy.typing as npt
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

from hadis_lightly.cluster.lloyd.arrays import (
    as_rows,
    check_columns,
    check_finite,
    to_device,
)
from hadis_lightly.precision import accurate_dtype, full_precision


class Whitening:
    r"""Scales principal components towards equal variance, small ones less.

    Where few directions carry most of the variance, k-means splits clusters along them
    and merges clusters that differ in the others only; among components of equal weight
    it does not. Components of little variance are mostly noise, which whitening would
    amplify. So it is the covariance shrunk half-way to a multiple of the identity, as
    in [0], that is whitened: with the mean variance :math:`\bar\lambda` over all d
    directions, a component of variance :math:`\lambda` is divided by
    :math:`\sqrt{\lambda + \bar\lambda}`. All are then scaled by one number, which
    makes the mean squared length of a row d, as if each had variance 1.

    Attributes:
        mean_: Mean of the rows, ``(d,)``.
        components_: Scaled components, ``(d, n_components_)``.
        n_components_: Number of components, all d of them.

    Example:
        >>> X = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> Whitening().fit(X).transform(X).abs().max(dim=0).values
        tensor([1.7823, 0.9075])

    - [0]: Ledoit and Wolf, 2004, https://doi.org/10.1016/S0047-259X(03)00096-4
    """

    mean_: Tensor
    components_: Tensor
    n_components_: int

    @full_precision()
    def fit(self, X: Tensor | npt.ArrayLike) -> Whitening:
        """Finds the components of the rows ``(n, d)``.

        Computed in float64, stored in float32 unless X is float64. Rows on Apple's MPS,
        which has neither float64 nor eigenvalues, are copied to the CPU.

        Raises:
            ValueError: If there is one row only, all are equal, or one is not finite.
        """
        data = as_rows(X)
        device = data.device
        if accurate_dtype(device) != torch.float64:
            data = data.cpu()
        if len(data) < 2:
            raise ValueError(f"X must be (n, d) with n >= 2, got {tuple(data.shape)}.")
        check_finite(data, name="X")
        # Relative to the first row: equal rows and constant columns are exactly 0.
        first = data[0].double()
        centered = data.to(first.dtype, copy=True)
        centered -= first
        shift = centered.mean(dim=0)
        centered -= shift
        covariance = centered.T @ centered / len(data)
        variances, directions = torch.linalg.eigh(covariance)
        variances, directions = variances.flip(0), directions.flip(1)
        if float(variances[0]) <= 0:
            raise ValueError(f"X has no variance: all {len(data)} rows are equal.")
        variances = variances.clamp_min(0)
        shrunk = variances + variances.mean()
        scale = (len(variances) / (variances / shrunk).sum()).sqrt()
        components = directions * (scale / shrunk.sqrt())
        self.n_components_ = len(variances)
        self.mean_ = (first + shift).to(data.dtype).to(device)
        self.components_ = components.to(data.dtype).to(device)
        return self

    @full_precision()
    def transform(self, X: Tensor | npt.ArrayLike) -> Tensor:
        """The whitened rows, ``(n, n_components_)``."""
        if not hasattr(self, "components_"):
            raise NotFittedError(
                "Whitening is not fitted yet: call fit before transform."
            )
        data = as_rows(X)
        check_columns(data, len(self.mean_), name="X")
        dtype = torch.promote_types(data.dtype, self.mean_.dtype)
        return (data.to(dtype) - self.mean_) @ self.components_.to(dtype)

    def to(self, device: torch.device | str) -> Whitening:
        """A copy with its tensors on the device."""
        state = self.state_dict()
        return Whitening.from_state_dict(
            {name: to_device(value, device) for name, value in state.items()}
        )

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors, for a checkpoint."""
        return {"mean": self.mean_, "components": self.components_}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> Whitening:
        """The fitted whitening that :meth:`state_dict` was called on."""
        whitening = cls()
        whitening.mean_, whitening.components_ = state["mean"], state["components"]
        whitening.n_components_ = whitening.components_.shape[1]
        return whitening
