"""Contrastive Clustering (CC) as a LightningModule."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hadis_lightly.loss import CCLoss, CCLossTerms
from hadis_lightly.models import CCModel
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.cluster_head_module import ClusterHeadModule
from hadis_lightly.transforms import BatchedViews


class ContrastiveClustering(ClusterHeadModule):
    """Trains a :class:`~hadis_lightly.models.CCModel` as in CC [0].

    One step: both views through the network and its two heads; the instance loss tells
    images apart, the cluster loss clusters. Adam at a constant learning rate.

    Batches are ``((x0, x1), targets, keys)``, as lightly's data sets and
    :class:`~hadis_lightly.data.IndexedDataset` give them, or with ``views``
    ``(images, targets, keys)``, as :class:`~hadis_lightly.data.DeviceLoader` does.
    Targets are never looked at. On a GPU no step waits for the device.

    Args:
        model: Backbone, instance head and cluster head.
        criterion: The loss.
        clusters: The callback that takes the clusters from the head, for scores. The
            trainer need not be given it, the module brings it along.
        learning_rate: Learning rate of Adam. Paper: 3e-4.
        weight_decay: Weight decay on all parameters. Paper: 0.
        warmup_epochs: Epochs in which the learning rate rises. Paper: 0.
        training_only: For every image of the set, by its index, whether it is there
            for the instance loss alone, ``(m,)`` bool; by default none is. Paper: the
            unlabelled images of STL-10.
        views: If given, batches come with uint8 images in place of ``(x0, x1)``, and
            it makes the views of them on the device.
        seed: If given, the views of an image depend on it, the epoch and the image's
            index alone.
        compile_mode: If given, networks, losses and views run through
            ``torch.compile`` in this mode.
        fused: Whether one kernel of Adam updates all weights.
        log_every_n_steps: If given, the mean losses of so many steps go to the loggers.

    Raises:
        ValueError: If a number is out of range.

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    """

    loss_names = ("loss", "loss_instance", "loss_cluster")

    def __init__(
        self,
        model: CCModel,
        criterion: CCLoss,
        clusters: ClusterHeadAssignment | None = None,
        *,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.0,
        warmup_epochs: int = 0,
        training_only: Tensor | None = None,
        views: BatchedViews | None = None,
        seed: int | None = None,
        compile_mode: str | None = None,
        fused: bool = False,
        log_every_n_steps: int | None = None,
    ) -> None:
        super().__init__(
            model,
            clusters,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup_epochs=warmup_epochs,
            training_only=training_only,
            views=views,
            seed=seed,
            compile_mode=compile_mode,
            fused=fused,
            log_every_n_steps=log_every_n_steps,
        )
        self.model: CCModel = model
        self.criterion = criterion
        self._terms = self.compiled(_terms)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss of a batch ``((x0, x1), targets, keys)``."""
        (x0, x1), _, keys = batch
        terms = self._terms(self.model, self.criterion, x0, x1, self.weights_of(keys))
        self.log_losses(terms)
        return terms.loss


def _terms(
    model: CCModel, criterion: CCLoss, x0: Tensor, x1: Tensor, weights: Tensor | None
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
