"""Hardness-aware self-distillation (HSD): each anchor's hardest pairs."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.loss.inputs import check_temperature, check_tensors, unit_rows

# Rounding of float64 sums: rows whose squared distance is less, relative to their
# norms, are equal in float32.
_EQUAL = 1e-13


class HardestPairs(NamedTuple):
    """The hardest positive and negative of each anchor; each field is ``(n,)``."""

    positive: Tensor
    """Row of the hardest positive."""
    negative: Tensor
    """Row of the hardest negative; any row where there is none."""
    teacher_positive: Tensor
    """The teacher's distance to the hardest positive, an entry of A in Eq. 4."""
    teacher_negative: Tensor
    """The teacher's distance to the hardest negative; 0 where there is none."""


@torch.no_grad()
def hardest_pairs(prediction: Tensor, teacher: Tensor) -> HardestPairs:
    """Mines the hardest pairs of every anchor, Eq. 4 to 6; see :class:`HSDLoss`.

    Args:
        prediction: Normalised predictions, ``(n, d)``.
        teacher: Normalised teacher embeddings, ``(n, d)``: the anchors.
    """
    among_teacher = _distances(teacher, teacher)  # A (n, n)
    to_prediction = _distances(teacher, prediction)  # D (n, n)
    boundary = to_prediction.diagonal().unsqueeze(1)  # b (n, 1)
    is_negative = among_teacher > boundary
    positive = to_prediction.masked_fill(is_negative, float("-inf")).argmax(1)
    negative = to_prediction.masked_fill(~is_negative, float("inf")).argmin(1)
    teacher_positive = among_teacher.gather(1, positive.unsqueeze(1)).squeeze(1)
    teacher_negative = among_teacher.gather(1, negative.unsqueeze(1)).squeeze(1)
    return HardestPairs(
        positive,
        negative,
        teacher_positive,
        teacher_negative.where(is_negative.any(dim=1), 0),
    )


@torch.no_grad()
def hardness_weights(
    pairs: HardestPairs, positive: Tensor, negative: Tensor
) -> tuple[Tensor, Tensor]:
    """Self-adaptive weights, Eq. 7: how wrong the student is about its hardest pairs.

    A positive weighs as much as the student puts it farther from the anchor than the
    teacher does; a negative as much as the student puts it nearer.

    Args:
        pairs: The hardest pairs.
        positive: Distances d+ of the anchors to their hardest positives, ``(n,)``.
        negative: Distances d- of the anchors to their hardest negatives, ``(n,)``.

    Returns:
        The weights of the positives and of the negatives, each ``(n,)`` and >= 0; 0
        for the negative of an anchor that has none.
    """
    positive_weight = (positive - pairs.teacher_positive).clamp_min(0)
    negative_weight = (pairs.teacher_negative - negative).clamp_min(0)
    return positive_weight, negative_weight


def hsd_loss(prediction: Tensor, teacher: Tensor, temperature: float = 0.5) -> Tensor:
    """Hardness-aware self-distillation, Eq. 4 to 8; see :class:`HSDLoss`.

    The teacher receives no gradient.
    """
    with torch.autocast(device_type=prediction.device.type, enabled=False):
        prediction = unit_rows(prediction)
        teacher = unit_rows(teacher.detach())
        pairs = hardest_pairs(prediction, teacher)
        # Only the mined distances carry a gradient: n of them twice, not n * n.
        positive = _row_distances(teacher, prediction[pairs.positive])  # d+ (n,)
        negative = _row_distances(teacher, prediction[pairs.negative])  # d- (n,)
        positive_weight, negative_weight = hardness_weights(pairs, positive, negative)
        exponents = positive_weight * positive - negative_weight * negative
        # The default threshold of 20 would be off by 2e-9, visible in float64.
        return F.softplus(exponents / temperature, threshold=50).mean()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of all pairs of rows, ``(n, n)``.

    Not from ``a^2 + b^2 - 2ab`` in their own precision: in float32 that shows equal
    rows about 7e-4 apart, which turns duplicates into negatives. In float64 it is
    exact enough, and on a CPU four to eight times as fast as ``cdist``.
    """
    if a.dtype != torch.float32 or a.device.type != "cpu":
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    rows, columns = a.double(), b.double()
    norms = rows.square().sum(1, keepdim=True) + columns.square().sum(1)
    squares = norms - 2 * rows @ columns.T
    equal = squares <= _EQUAL * norms
    return squares.masked_fill(equal, 0.0).sqrt().to(a.dtype)


def _row_distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of each row of ``a`` to the same row of ``b``, ``(n,)``."""
    distances: Tensor = torch.linalg.vector_norm(a - b, dim=1)
    return distances


class HSDLoss(nn.Module):
    r"""Distils the teacher's view of the hardest pairs, Eq. 4 to 8 of HaDis [0].

    Anchors are the teacher's rows. With the distances
    :math:`A_{ij} = \lVert \hat{t}_i - \hat{t}_j \rVert` and
    :math:`D_{ij} = \lVert \hat{t}_i - \hat{p}_j \rVert`, the sample :math:`j` is a
    negative of the anchor :math:`i` iff :math:`A_{ij} > D_{ii}`, else a positive.
    Of the positives the farthest prediction is the hardest (:math:`d^+_i`), of the
    negatives the nearest (:math:`d^-_i`):

    .. math::
        w^+_i = \max(0, d^+_i - A_{i,\arg\max}), \quad
        w^-_i = \max(0, A_{i,\arg\min} - d^-_i)

        L_{HSD} = \frac{1}{n} \sum_i
            \log(1 + \exp((w^+_i d^+_i - w^-_i d^-_i) / \tau))

    The weights carry no gradient; an anchor without a negative has
    :math:`w^-_i d^-_i = 0`.

    Args:
        temperature: :math:`\tau > 0`, dimensionless. Paper: 0.5.

    Shape: prediction ``(n, d)``, teacher ``(n, d)``; both are normalised inside.

    Returns: Scalar >= 0, mean over the ``n`` anchors.

    Raises:
        TypeError: If an input is not a floating point tensor.
        ValueError: If an input is not ``(n, d)``, the shapes differ, or
            ``temperature <= 0``.

    Example:
        >>> teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> HSDLoss()(teacher, teacher)  # nothing to learn: softplus(0)
        tensor(0.6931)

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = check_temperature("temperature", temperature)

    def forward(self, prediction: Tensor, teacher: Tensor) -> Tensor:
        """Returns the loss of one direction."""
        check_tensors("(n, d)", prediction=prediction, teacher=teacher)
        return hsd_loss(prediction, teacher, self.temperature)
