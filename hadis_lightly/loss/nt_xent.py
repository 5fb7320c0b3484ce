"""Normalised temperature-scaled cross entropy (NT-Xent): rows against all others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.precision import at_least_float32

#: A row shorter than this has no direction, as in ``torch.nn.functional.normalize``.
_SHORTEST = 1e-12


def nt_xent_loss(x0: Tensor, x1: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Cross entropy of each row's partner among all other rows, Eq. 1 of SimCLR [0].

    .. math::
        L = -\frac{1}{2n} \sum_{i=1}^{2n} \log
            \frac{\exp(\cos(x_i, x_{p(i)}) / \tau)}
                 {\sum_{j \ne i} \exp(\cos(x_i, x_j) / \tau)}

    over the :math:`2n` rows of both views, :math:`p(i)` being the row of the same
    number in the other view. Values and gradients are those of lightly's
    ``NTXentLoss``, but for rows of zeros, whose gradient there is 1e12 times larger.

    Args:
        x0: Rows of one view, ``(n, d)``. They are normalised inside; a row of zeros
            is as far from all others as an orthogonal one.
        x1: Rows of the other view, ``(n, d)``.
        temperature: :math:`\tau > 0`, dimensionless.

    Returns:
        Scalar >= 0, in float32 where the input is of lower precision; 0 for n = 1.

    - [0]: SimCLR, 2020, https://arxiv.org/abs/2002.05709
    """
    # NOTE: lightly's NTXentLoss takes the diagonal out by a boolean index, whose shape
    # depends on values: the host would wait for the device at every step, and neither
    # torch.compile nor CUDA graphs could hold the step as one.
    with torch.autocast(device_type=x0.device.type, enabled=False):
        x = torch.cat([_unit_rows(x0), _unit_rows(x1)])  # (2n, d)
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
        logits = (x @ x.T / temperature).masked_fill(itself, float("-inf"))
        partners = torch.arange(len(x), device=x.device).roll(len(x0))
        return F.cross_entropy(logits, partners)


def _unit_rows(x: Tensor) -> Tensor:
    """Rows of length 1; those without a direction stay as they are."""
    x = at_least_float32(x)
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / lengths.where(lengths > _SHORTEST, 1)
