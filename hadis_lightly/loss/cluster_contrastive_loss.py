"""Cluster-level contrast of CC: columns of soft assignments are the samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hadis_lightly.checks import check_integer
from hadis_lightly.loss.inputs import (
    check_gather_distributed,
    check_one_per_row,
    check_temperature,
    check_tensors,
    check_values,
    gather_batch,
)
from hadis_lightly.loss.nt_xent import nt_xent_loss
from hadis_lightly.precision import at_least_float32


def cluster_contrastive_loss(
    assignments0: Tensor,
    assignments1: Tensor,
    temperature: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Contrast of the clusters minus entropies; see :class:`ClusterContrastiveLoss`.

    The weights receive no gradient. If all are 0, so is the loss.
    """
    with torch.autocast(device_type=assignments0.device.type, enabled=False):
        a0, a1 = at_least_float32(assignments0), at_least_float32(assignments1)
        if weights is None:
            weights = a0.new_ones(len(a0))
        weights = weights.detach().to(a0.dtype).unsqueeze(1)  # (n, 1)
        # The cosine of two columns is a sum over images: each counts by its weight.
        scale = weights.sqrt()
        contrast = nt_xent_loss((scale * a0).T, (scale * a1).T, temperature)
        loss = contrast - _size_entropy(a0, weights) - _size_entropy(a1, weights)
        return loss.where(weights.sum() > 0, 0)


def _size_entropy(assignments: Tensor, weights: Tensor) -> Tensor:
    """Entropy of the mean assignment: log(k) if all clusters are of one size."""
    smallest = torch.finfo(assignments.dtype).tiny
    total = weights.sum().clamp_min(smallest)
    sizes = (weights * assignments).sum(dim=0) / total  # (k,)
    # Of an empty cluster 0 log 0 is 0, but its gradient would be infinite.
    return -(sizes * sizes.clamp_min(smallest).log()).sum()


def check_columns(name: str, x: Tensor, n_clusters: int | None) -> None:
    """Raises unless there is a column for each cluster, and there are two or more."""
    columns = x.shape[1]
    if n_clusters is not None and columns != n_clusters:
        raise ValueError(
            f"{name} must have n_clusters={n_clusters} columns, got {columns}."
        )
    if columns < 2:
        raise ValueError(f"{name} must have at least 2 columns, got {columns}.")


def _check_weights(weights: Tensor, assignments: Tensor) -> Tensor:
    """Checks that weights are finite, >= 0, and one for each image.

    Returns:
        The weights in the precision of the assignments, at least float32.
    """
    if not isinstance(weights, Tensor) or weights.is_complex():
        kind = getattr(weights, "dtype", type(weights).__name__)
        raise TypeError(f"weights must be a tensor of real numbers, got {kind}.")
    check_one_per_row("weights", weights, assignments)
    weights = weights.detach().to(at_least_float32(assignments[:0]).dtype)
    holds = (weights >= 0) & weights.isfinite()
    check_values(weights, holds, "weights must be finite and >= 0")
    return weights


class ClusterContrastiveLoss(nn.Module):
    r"""Contrasts clusters by who is in them, Eq. 4 to 6 of Contrastive Clustering [0].

    Column k of an assignment matrix stands for cluster k: its entries tell how much
    each image of the batch belongs to it. A column's positive is that of the same
    cluster in the other view, its negatives are the other :math:`2K - 2` columns of
    both views. With the columns :math:`y_1 \ldots y_{2K}`, the positive
    :math:`y_{p(k)}` of :math:`y_k`, and the mean assignments
    :math:`\bar{y}^0, \bar{y}^1` over the batch:

    .. math::
        L = -\frac{1}{2K} \sum_{k=1}^{2K} \log
            \frac{\exp(\cos(y_k, y_{p(k)}) / \tau)}
                 {\sum_{j \ne k} \exp(\cos(y_k, y_j) / \tau)}
            - H(\bar{y}^0) - H(\bar{y}^1), \quad H(p) = -\sum_k p_k \log p_k

    The entropies keep all images from falling into one cluster. The authors' code adds
    :math:`\log K - H` for each view instead. The constant :math:`2 \log K` is left out
    here, so the loss can be negative.

    Args:
        n_clusters: Number of clusters K, at least 2; by default as many as there are
            columns.
        temperature: :math:`\tau > 0`, dimensionless. Paper: 1.0.
        gather_distributed: Whether columns run over the batches of all processes. All
            of them must have the same batch size, and weights in all or in none.

    Shape: assignments0, assignments1 ``(n, k)``, rows sum to 1; weights ``(n,)``.

    Returns: Scalar >= ``-2 log(k)``, mean over the ``2k`` columns minus the entropies.

    Raises:
        TypeError: If an input is not floating point.
        ValueError: If shapes differ, a weight is negative, ``n_clusters < 2`` or
            ``temperature <= 0``.

    Example:
        >>> certain = torch.eye(2).repeat(3, 1)
        >>> round(float(ClusterContrastiveLoss()(certain, certain)), 4)
        -0.8348
        >>> collapsed = torch.tensor([[1.0, 0.0]]).repeat(6, 1)
        >>> round(float(ClusterContrastiveLoss()(collapsed, collapsed)), 4)
        0.825

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    """

    def __init__(
        self,
        n_clusters: int | None = None,
        temperature: float = 1.0,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        if n_clusters is not None:
            check_integer("n_clusters", n_clusters, least=2)
        self.n_clusters = n_clusters
        self.temperature = check_temperature("temperature", temperature)
        self.gather_distributed = check_gather_distributed(gather_distributed)

    def forward(
        self,
        assignments0: Tensor,
        assignments1: Tensor,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Returns the loss of both views.

        Args:
            assignments0: Cluster probabilities of one view.
            assignments1: Those of the other view.
            weights: How much each image counts, >= 0; by default 1. An image of
                weight 0 takes no part, one of weight 2 counts as two.
        """
        a0, a1 = assignments0, assignments1
        check_tensors("(n, k)", assignments0=a0, assignments1=a1)
        check_columns("assignments0", a0, self.n_clusters)
        if weights is not None:
            weights = _check_weights(weights, a0)
        if self.gather_distributed:
            a0, a1 = gather_batch(a0), gather_batch(a1)
            weights = None if weights is None else gather_batch(weights)
        return cluster_contrastive_loss(a0, a1, self.temperature, weights)
