"""The loss of Contrastive Clustering: instances and clusters, both contrasted."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from hadis_lightly.checks import check_integer
from hadis_lightly.loss.cluster_contrastive_loss import ClusterContrastiveLoss
from hadis_lightly.loss.inputs import check_temperature, check_tensors, gather_batch
from hadis_lightly.loss.nt_xent import nt_xent_loss


class CCLossTerms(NamedTuple):
    """The loss and its terms, all scalars."""

    loss: Tensor
    """The plain sum, to be minimised."""
    instance: Tensor
    """Contrast of the images."""
    cluster: Tensor
    """Contrast of the clusters, minus the entropies of their sizes."""


class CCLoss(nn.Module):
    r"""The loss of Contrastive Clustering [0], Eq. 1 to 7.

    .. math:: L = L_{instance} + L_{cluster}

    The instance loss is SimCLR's, lightly's ``NTXentLoss``: each image's positive is
    its other view, its negatives are both views of all other images. The cluster loss
    is :class:`ClusterContrastiveLoss`. Both are symmetric in the two views.

    Args:
        n_clusters: Number of clusters, at least 2.
        instance_temperature: Temperature of the instance loss, > 0. Paper: 0.5.
        cluster_temperature: Temperature of the cluster loss, > 0. Paper: 1.0.
        gather_distributed: Whether both terms are taken over the batches of all
            processes: all their images are contrasted, and columns are as long as
            the global batch. All processes must have the same batch size. Each then
            has the loss of the whole batch, where lightly's ``NTXentLoss`` gives each
            that of its own images.

    Shape: instance0, instance1 ``(n, d)``, assignments0, assignments1 ``(n, k)``,
        weights ``(n,)``.

    Returns: :class:`CCLossTerms` of three scalars.

    Raises:
        TypeError: If an input is not floating point.
        ValueError: If shapes differ, or a weight or a parameter is out of range.

    Example:
        >>> import torch
        >>> z = torch.eye(4)
        >>> certain = torch.eye(2).repeat(2, 1)
        >>> criterion = CCLoss(n_clusters=2)
        >>> terms = criterion(
        ...     instance0=z, instance1=z, assignments0=certain, assignments1=certain
        ... )
        >>> [round(float(term), 4) for term in terms]
        [-0.2404, 0.5944, -0.8348]

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    """

    def __init__(
        self,
        n_clusters: int,
        instance_temperature: float = 0.5,
        cluster_temperature: float = 1.0,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        check_integer("n_clusters", n_clusters, least=2)
        check_temperature("instance_temperature", instance_temperature)
        check_temperature("cluster_temperature", cluster_temperature)
        self.n_clusters = n_clusters
        self.instance_temperature = instance_temperature
        self.cluster_loss = ClusterContrastiveLoss(
            n_clusters, cluster_temperature, gather_distributed
        )
        self.gather_distributed = gather_distributed

    def forward(
        self,
        *,
        instance0: Tensor,
        instance1: Tensor,
        assignments0: Tensor,
        assignments1: Tensor,
        weights: Tensor | None = None,
    ) -> CCLossTerms:
        """Returns the loss of both views and its terms.

        Args:
            instance0: Instance embeddings of one view; normalised inside.
            instance1: Those of the other view.
            assignments0: Cluster probabilities of the one view.
            assignments1: Those of the other view.
            weights: How much each image counts in the cluster loss, >= 0; by default
                1. With 0 an image is in the instance loss alone, as the paper treats
                the unlabelled images of STL-10.
        """
        instance = self.instance_loss(instance0, instance1)
        cluster = self.cluster_loss(assignments0, assignments1, weights)
        return CCLossTerms(instance + cluster, instance, cluster)

    def instance_loss(self, instance0: Tensor, instance1: Tensor) -> Tensor:
        """Returns the contrast of the images, Eq. 1 to 3."""
        check_tensors("(n, d)", instance0=instance0, instance1=instance1)
        if self.gather_distributed:
            instance0, instance1 = gather_batch(instance0), gather_batch(instance1)
        return nt_xent_loss(instance0, instance1, self.instance_temperature)
