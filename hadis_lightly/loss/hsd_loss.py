"""Hardness-aware self-distillation (HSD): each anchor's hardest pairs."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.loss.embeddings import (
    check_embeddings,
    check_temperature,
    normalize_rows,
)


class HardestPairs(NamedTuple):
    """The hardest positive and negative of each anchor, as row numbers."""

    positive: Tensor
    """Index of the hardest positive, ``(n,)``."""
    negative: Tensor
    """Index of the hardest negative, ``(n,)``; any index where there is none."""
    has_negative: Tensor
    """Whether the anchor has a negative at all, ``(n,)``."""
    anchor_to_anchor: Tensor
    """Distances A of the teacher's rows among each other, Eq. 4, ``(n, n)``."""


@torch.no_grad()
def hardest_pairs(prediction: Tensor, teacher: Tensor) -> HardestPairs:
    """Mines the hardest pairs of every anchor, Eq. 4 to 6 of HaDis [0].

    The anchors are the teacher's rows. A sample is a negative of an anchor if, for
    the teacher, it lies farther away than the anchor's own prediction does; else it
    is a positive, as the anchor itself always is.

    Args:
        prediction: Normalised predictions, ``(n, d)``.
        teacher: Normalised teacher embeddings, ``(n, d)``.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """
    anchor_to_anchor = _distances(teacher, teacher)  # A (n, n)
    anchor_to_prediction = _distances(teacher, prediction)  # D (n, n)
    boundary = anchor_to_prediction.diagonal().unsqueeze(1)  # b (n, 1)
    is_negative = anchor_to_anchor > boundary
    infinity = float("inf")
    return HardestPairs(
        positive=anchor_to_prediction.masked_fill(is_negative, -infinity).argmax(1),
        negative=anchor_to_prediction.masked_fill(~is_negative, infinity).argmin(1),
        has_negative=is_negative.any(dim=1),
        anchor_to_anchor=anchor_to_anchor,
    )


def hsd_loss(prediction: Tensor, teacher: Tensor, temperature: float = 0.5) -> Tensor:
    """Hardness-aware self-distillation, Eq. 4 to 8 of HaDis [0].

    Args:
        prediction: Predictions of the student, ``(n, d)``.
        teacher: Embeddings of the same images by the teacher, ``(n, d)``. They
            receive no gradient.
        temperature: Temperature, dimensionless.

    Returns:
        Scalar >= 0.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """
    with torch.autocast(device_type=prediction.device.type, enabled=False):
        prediction = normalize_rows(prediction)
        teacher = normalize_rows(teacher.detach())
        pairs = hardest_pairs(prediction, teacher)
        # Only the mined distances carry a gradient: n of them twice, not n * n.
        positive = _row_distances(teacher, prediction[pairs.positive])  # d+ (n,)
        negative = _row_distances(teacher, prediction[pairs.negative])  # d- (n,)
        positive_weight, negative_weight = hardness_weights(pairs, positive, negative)
        exponents = positive_weight * positive - negative_weight * negative
        # The default threshold of 20 would be off by 2e-9, visible in float64.
        return F.softplus(exponents / temperature, threshold=50).mean()


@torch.no_grad()
def hardness_weights(
    pairs: HardestPairs, positive: Tensor, negative: Tensor
) -> tuple[Tensor, Tensor]:
    """Self-adaptive weights, Eq. 7 of HaDis [0]: how wrong the student is on a pair.

    A positive weighs as much as the student puts it farther from the anchor than the
    teacher does; a negative as much as the student puts it nearer.

    Args:
        pairs: The hardest pairs.
        positive: Distances d+ of the anchors to their hardest positives, ``(n,)``.
        negative: Distances d- of the anchors to their hardest negatives, ``(n,)``.

    Returns:
        The weights of the positives and of the negatives, each ``(n,)`` and >= 0; 0
        for the missing negative of an anchor that has none.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """
    anchors = pairs.anchor_to_anchor
    teacher_positive = anchors.gather(1, pairs.positive.unsqueeze(1)).squeeze(1)
    teacher_negative = anchors.gather(1, pairs.negative.unsqueeze(1)).squeeze(1)
    positive_weight = (positive - teacher_positive).clamp_min(0)
    negative_weight = (teacher_negative - negative).clamp_min(0)
    return positive_weight, negative_weight * pairs.has_negative


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of all pairs of rows, ``(n, n)``.

    Not from ``a^2 + b^2 - 2ab``: in float32 that shows equal rows about 7e-4
    apart, which turns duplicates into negatives.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


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
        check_embeddings(prediction=prediction, teacher=teacher)
        return hsd_loss(prediction, teacher, self.temperature)
