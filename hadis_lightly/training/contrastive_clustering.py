"""Contrastive Clustering (CC) as a LightningModule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hadis_lightly.loss import CCLoss, CCLossTerms
from hadis_lightly.models import CCModel
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.cluster_head_module import (
    ClusterHeadModule,
    ClusterHeadOptions,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ContrastiveClustering(ClusterHeadModule):
    """Trains a :class:`~hadis_lightly.models.CCModel` as in CC [0].

    One step: both views through the network and its two heads; the instance loss tells
    images apart, the cluster loss clusters. Adam at a constant learning rate.

    Args:
        model: Backbone, instance head and cluster head.
        criterion: The loss.
        callback: Assigns images to clusters, for scores; the module brings it along.
        learning_rate: Learning rate of Adam. Paper: 3e-4.
        **options: See :class:`ClusterHeadModule`.

    Raises:
        ValueError: If a number is out of range.

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    """

    model: CCModel
    loss_names = ("loss", "loss_instance", "loss_cluster")

    def __init__(
        self,
        model: CCModel,
        criterion: CCLoss,
        callback: ClusterHeadAssignment | None = None,
        *,
        learning_rate: float = 3e-4,
        **options: Unpack[ClusterHeadOptions],
    ) -> None:
        super().__init__(
            model, criterion, callback, learning_rate=learning_rate, **options
        )
        self._terms = self.compiled(_terms)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss of a batch ``((x0, x1), targets, keys)``."""
        (x0, x1), _, keys = batch
        terms = self._terms(self.model, self.criterion, x0, x1, self.weights_of(keys))
        self.log_losses(terms)
        return terms.loss


def _terms(
    model: CCModel, criterion: nn.Module, x0: Tensor, x1: Tensor, weights: Tensor | None
) -> CCLossTerms:
    """The loss of two views, each with BatchNorm statistics of its own."""
    instance0, assignments0 = model.project(x0)
    instance1, assignments1 = model.project(x1)
    terms: CCLossTerms = criterion(
        instance0=instance0,
        instance1=instance1,
        assignments0=assignments0,
        assignments1=assignments1,
        weights=weights,
    )
    return terms
