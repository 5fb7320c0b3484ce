"""Cluster-level contrast of CC: columns of soft assignments are the samples."""

from __future__ import annotations

import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor, nn

from hadis_lightly.checks import check_integer
from hadis_lightly.loss.device_checks import check_values
from hadis_lightly.loss.embeddings import (
    check_embeddings,
    check_gather_distributed,
    check_temperature,
)
from hadis_lightly.loss.nt_xent import nt_xent_loss
from hadis_lightly.precision import at_least_float32


def cluster_contrastive_loss(
    assignments0: Tensor,
    assignments1: Tensor,
    temperature: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Contrast of the clusters, minus the entropies of their sizes, Eq. 4 to 6 of [0].

    Args:
        assignments0: Cluster probabilities of one view of each image, ``(n, k)``.
        assignments1: Those of the other view, ``(n, k)``.
        temperature: Temperature, dimensionless.
        weights: How much each image counts, >= 0, ``(n,)``; by default 1. An image of
            weight 0 takes no part, one of weight 2 counts as two. They carry no
            gradient. If all are 0, so is the loss.

    Returns:
        Scalar >= ``-2 log(k)``.

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
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


def check_assignments(
    assignments0: Tensor, assignments1: Tensor, n_clusters: int | None = None
) -> None:
    """Checks that both are floating point, ``(n, k)``, with a column for each cluster.

    Raises:
        TypeError: If one is not a floating point tensor, or only one is float64.
        ValueError: If shapes or devices differ or the number of columns is wrong.
    """
    check_embeddings(assignments0=assignments0, assignments1=assignments1)
    columns = assignments0.shape[1]
    if n_clusters is not None and columns != n_clusters:
        raise ValueError(
            f"assignments0 must have n_clusters={n_clusters} columns, got {columns}."
        )
    if columns < 2:
        raise ValueError(f"assignments0 must have at least 2 columns, got {columns}.")


def check_weights(weights: Tensor, assignments: Tensor) -> Tensor:
    """Checks that weights are finite, >= 0, and one for each image.

    Returns:
        The weights in the precision of the assignments, at least float32.

    Raises:
        TypeError: If the weights are not a tensor of real numbers or bools.
        ValueError: If they are not ``(n,)`` or on another device, or one is negative
            or not finite. On an accelerator that is asserted there, without waiting.
    """
    if not isinstance(weights, Tensor) or weights.is_complex():
        kind = getattr(weights, "dtype", type(weights).__name__)
        raise TypeError(f"weights must be a tensor of real numbers, got {kind}.")
    n = len(assignments)
    if weights.shape != (n,):
        raise ValueError(f"weights must have shape ({n},), got {tuple(weights.shape)}.")
    if weights.device != assignments.device:
        raise ValueError(
            f"weights are on {weights.device}, but the assignments on "
            f"{assignments.device}."
        )
    weights = weights.detach().to(at_least_float32(assignments[:0]).dtype)
    holds = (weights >= 0) & weights.isfinite()
    check_values(weights, holds, "weights must be finite and >= 0")
    return weights


def gather_assignments(
    assignments0: Tensor, assignments1: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same of the batches of all processes, as one batch."""
    assignments0 = torch.cat(lightly_dist.gather(assignments0.contiguous()))
    assignments1 = torch.cat(lightly_dist.gather(assignments1.contiguous()))
    if weights is not None:
        weights = torch.cat(lightly_dist.gather(weights.contiguous()))
    return assignments0, assignments1, weights


class ClusterContrastiveLoss(nn.Module):
    r"""Contrasts clusters by who is in them, Eq. 4 to 6 of Contrastive Clustering [0].

    Each column of an assignment matrix stands for a cluster: it tells how much of it
    every image of the batch is. A column's positive is that of the same cluster in the
    other view, its negatives are the other :math:`2K - 2` columns of both views. With
    the columns :math:`y_1 \ldots y_{2K}`, :math:`y_{p(k)}` being the positive of
    :math:`y_k`, and the mean assignments :math:`\bar{y}^0, \bar{y}^1` over the batch:

    .. math::
        L = -\frac{1}{2K} \sum_{k=1}^{2K} \log
            \frac{\exp(\cos(y_k, y_{p(k)}) / \tau)}
                 {\sum_{j \ne k} \exp(\cos(y_k, y_j) / \tau)}
            - H(\bar{y}^0) - H(\bar{y}^1), \quad H(p) = -\sum_k p_k \log p_k

    The entropies keep all images from falling into one cluster. The authors' code adds
    :math:`\log K - H` for each view instead: the same but for a constant
    :math:`2 \log K`, which is left out here, so that the loss can be negative.

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
            weights: How much each image counts; one of weight 0 takes no part.
        """
        check_assignments(assignments0, assignments1, self.n_clusters)
        if weights is not None:
            weights = check_weights(weights, assignments0)
        if self.gather_distributed and lightly_dist.world_size() > 1:
            assignments0, assignments1, weights = gather_assignments(
                assignments0, assignments1, weights
            )
        return cluster_contrastive_loss(
            assignments0, assignments1, self.temperature, weights
        )
