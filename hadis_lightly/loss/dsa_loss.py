"""Diffused sampling alignment (DSA): a student's prediction meets its teacher."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hadis_lightly.loss.inputs import check_tensors, unit_rows


def dsa_loss(prediction: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of the normalised rows, Eq. 1 and 3; see :class:`DSALoss`.

    The teacher receives no gradient.
    """
    with torch.autocast(device_type=prediction.device.type, enabled=False):
        # The difference, not 2 - 2 cos: that would cancel where the two agree.
        difference = unit_rows(prediction) - unit_rows(teacher.detach())
        return difference.square().sum(dim=1).mean()


class DSALoss(nn.Module):
    r"""Aligns the student's diffused predictions with the teacher, Eq. 1 and 3 of [0].

    .. math::
        L_{DSA} = \frac{1}{n} \sum_i \lVert \hat{p}_i - \hat{t}_i \rVert_2^2
                = 2 - \frac{2}{n} \sum_i \cos(p_i, t_i)

    The diffusion itself, Eq. 2, happens in the model: it adds noise to the projection
    before it predicts. Without noise this is BYOL's loss: twice lightly's
    :class:`NegativeCosineSimilarity`, plus 2.

    Shape: prediction ``(n, d)``, teacher ``(n, d)``; both are normalised inside.

    Returns: Scalar in [0, 4], mean over the ``n`` images; 0 where both agree.

    Raises:
        TypeError: If an input is not a floating point tensor.
        ValueError: If an input is not ``(n, d)`` or the shapes differ.

    Example:
        >>> prediction = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
        >>> teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> DSALoss()(prediction, teacher)
        tensor(1.)

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def forward(self, prediction: Tensor, teacher: Tensor) -> Tensor:
        """Returns the loss of one direction."""
        check_tensors("(n, d)", prediction=prediction, teacher=teacher)
        return dsa_loss(prediction, teacher)
