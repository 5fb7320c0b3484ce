"""Normalised temperature-scaled cross entropy (NT-Xent): rows against all others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.loss.inputs import unit_rows


def nt_xent_loss(x0: Tensor, x1: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Cross entropy of each row's partner among all other rows, Eq. 1 of SimCLR [0].

    .. math::
        L = -\frac{1}{2n} \sum_{i=1}^{2n} \log
            \frac{\exp(\cos(x_i, x_{p(i)}) / \tau)}
                 {\sum_{j \ne i} \exp(\cos(x_i, x_j) / \tau)}

    over the :math:`2n` rows of both views, :math:`p(i)` being the row of the same
    number in the other view. Values and gradients are those of lightly's
    ``NTXentLoss``, except that rows of zeros get no huge gradient.

    Args:
        x0: Rows of one view, ``(n, d)``; normalised inside.
        x1: Rows of the other view, ``(n, d)``.
        temperature: :math:`\tau > 0`, dimensionless.

    Returns:
        Scalar >= 0, in float32 where the input is of lower precision; 0 for n = 1.

    - [0]: SimCLR, 2020, https://arxiv.org/abs/2002.05709
    """
    # NOTE: lightly's NTXentLoss removes the diagonal with a boolean index, whose shape
    # depends on values: the host would wait for the device at every step, and neither
    # torch.compile nor CUDA graphs could capture the whole step.
    with torch.autocast(device_type=x0.device.type, enabled=False):
        x = torch.cat([unit_rows(x0), unit_rows(x1)])  # (2n, d)
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
        logits = (x @ x.T / temperature).masked_fill(itself, float("-inf"))
        partners = torch.arange(len(x), device=x.device).roll(len(x0))
        return F.cross_entropy(logits, partners)
