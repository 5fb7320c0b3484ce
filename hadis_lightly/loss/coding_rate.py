"""The coding rate of a batch, which grows as embeddings spread over all directions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hadis_lightly.checks import check_number
from hadis_lightly.loss.inputs import (
    check_gather_distributed,
    check_tensors,
    gather_batch,
    unit_rows,
)


def coding_rate(embeddings: Tensor, distortion: float = 0.2) -> Tensor:
    """The coding rate of the normalised rows, see :class:`CodingRateLoss`."""
    with torch.autocast(device_type=embeddings.device.type, enabled=False):
        z = unit_rows(embeddings)
        n, d = z.shape
        # Both products have the same determinant: the smaller one.
        gram = z.T @ z if d <= n else z @ z.T
        identity = torch.eye(len(gram), dtype=z.dtype, device=z.device)
        # Positive definite; unlike logdet, this does not wait for a GPU.
        root: Tensor = torch.linalg.cholesky_ex(
            identity + d / (n * distortion) * gram
        ).L
        return root.diagonal().log().sum()


class CodingRateLoss(nn.Module):
    r"""Spreads embeddings: minus their coding rate [0], as EMP-SSL [1] has it.

    .. math::
        R(Z) = \frac{1}{2} \log \det \left(I + \frac{d}{n \epsilon^2} \hat{Z}^T
        \hat{Z}\right), \quad L = -R(Z)

    It is lowest where the rows fill all directions evenly, and highest where all are
    one point: a collapse costs most. Against an invariance of weight 200 in [1], which
    is 1 - cos, a weight of 0.01 stands beside HaDis's DSA, which is 2 - 2 cos.

    Args:
        distortion: :math:`\epsilon^2 > 0`. [1]: 0.2.
        gather_distributed: Whether the rate is that of the batches of all processes.

    Shape: embeddings ``(n, d)``, which are normalised inside.

    Returns: Scalar <= 0.

    Raises:
        TypeError: If the input is not a floating point tensor.
        ValueError: If it is not ``(n, d)``, or ``distortion`` is out of range.

    Example:
        >>> criterion = CodingRateLoss()
        >>> spread, one_point = torch.eye(4), torch.ones(4, 4)
        >>> round(float(criterion(spread)), 3), round(float(criterion(one_point)), 3)
        (-3.584, -1.522)

    - [0]: MCR2, 2020, https://arxiv.org/abs/2006.08558
    - [1]: EMP-SSL, 2023, https://arxiv.org/abs/2304.03977
    """

    def __init__(
        self, distortion: float = 0.2, gather_distributed: bool = False
    ) -> None:
        super().__init__()
        check_number("distortion", distortion, 0, above=True)
        self.distortion = distortion
        self.gather_distributed = check_gather_distributed(gather_distributed)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Returns the loss of one view."""
        check_tensors("(n, d)", embeddings=embeddings)
        if self.gather_distributed:
            embeddings = gather_batch(embeddings)
        return -coding_rate(embeddings, self.distortion)
