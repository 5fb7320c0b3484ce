"""Contrastive Clustering (CC) as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from hadis_lightly.loss import CCLoss, CCLossTerms
from hadis_lightly.models import CCModel
from hadis_lightly.training.cluster_head_module import ClusterHeadModule
from hadis_lightly.training.inputs import views_of


class ContrastiveClustering(ClusterHeadModule):
    """Trains a :class:`~hadis_lightly.models.CCModel` as in CC [0].

    One step: both views through the network and its two heads; the instance loss tells
    images apart, the cluster loss clusters. Adam at a constant learning rate.

    Args, Raises: See :class:`ClusterHeadModule`; the defaults are the paper's.

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    """

    model_type = CCModel
    criterion_type = CCLoss
    model: CCModel
    loss_names = ("loss", "loss_instance", "loss_cluster")

    @cached_property
    def _terms(self) -> Callable[..., CCLossTerms]:
        return self.compiled(_terms)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss of a batch ``((x0, x1), targets, keys)``."""
        (x0, x1), keys = views_of(batch, most=2)
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
