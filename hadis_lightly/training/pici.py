"""PICI as a LightningModule."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.loss import PICILoss, PICILossTerms
from hadis_lightly.models import PICIModel
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.cluster_head_module import ClusterHeadModule
from hadis_lightly.transforms import BatchedViews


class PICI(ClusterHeadModule):
    """Trains a :class:`~hadis_lightly.models.PICIModel` as in PICI [0].

    Three phases: the network learns to reconstruct masked patches (PISD); then both
    contrastive losses of the class tokens are added (PICD); at the end k-means on the
    instance embeddings guides the cluster head (CLI), beside the contrastive losses.
    Adam at a constant learning rate.

    In the first two phases half of the patches of every view are masked. NOTE: In the
    last phase views are whole, as images are when they are clustered: nothing is
    reconstructed there. What pseudo-labels are is said at
    :class:`ClusterHeadAssignment`.

    Batches are ``((x0, x1), targets, keys)``, as lightly's data sets and
    :class:`~hadis_lightly.data.IndexedDataset` give them, or with ``views``
    ``(images, targets, keys)``, as :class:`~hadis_lightly.data.DeviceLoader` does.
    Targets are never looked at. On a GPU no step waits for the device.

    Args:
        model: Masked autoencoder, instance head and cluster head.
        criterion: The loss.
        clusters: The callback that takes the clusters from the head and finds
            pseudo-labels: its ``pseudo_label_epochs`` are the last phase.
        pretraining_epochs: Epochs of the first phase. Paper: 200 of 1050.
        learning_rate: Learning rate of Adam. Paper: 1e-4.
        weight_decay: Weight decay on all parameters. Paper: 0.
        warmup_epochs: Epochs in which the learning rate rises. Paper: 0.
        training_only: For every image of the set, by its index, whether it takes no
            part in the clusters, ``(m,)`` bool; by default all do.
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

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """

    loss_names = (
        "loss",
        "loss_reconstruction",
        "loss_instance",
        "loss_cluster",
        "loss_interaction",
    )

    def __init__(
        self,
        model: PICIModel,
        criterion: PICILoss,
        clusters: ClusterHeadAssignment | None = None,
        *,
        pretraining_epochs: int = 200,
        learning_rate: float = 1e-4,
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
        check_integer("pretraining_epochs", pretraining_epochs, least=0)
        self.model: PICIModel = model
        self.criterion = criterion
        self.pretraining_epochs = pretraining_epochs
        self._pretraining_terms = self.compiled(_pretraining_terms)
        self._contrastive_terms = self.compiled(_contrastive_terms)
        self._interaction_terms = self.compiled(_interaction_terms)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss of a batch ``((x0, x1), targets, keys)``."""
        (x0, x1), _, keys = batch
        labels = self.pseudo_labels(keys)
        if self.current_epoch < self.pretraining_epochs:
            terms = self._pretraining_terms(self.model, self.criterion, x0, x1)
        elif labels is None:
            weights = self.weights_of(keys)
            terms = self._contrastive_terms(self.model, self.criterion, x0, x1, weights)
        else:
            weights = self.weights_of(keys)
            if weights is not None:
                labels = labels.masked_fill(weights == 0, -1)
            terms = self._interaction_terms(
                self.model, self.criterion, x0, x1, weights, labels
            )
        self.log_losses(terms)
        return terms.loss

    def pseudo_labels(self, keys: Any) -> Tensor | None:
        """Pseudo-labels of a batch, ``(n,)``; None before the last phase."""
        if not isinstance(self.clusters, ClusterHeadAssignment):
            return None
        return self.clusters.pseudo_labels(keys)


def _pretraining_terms(
    model: PICIModel, criterion: PICILoss, x0: Tensor, x1: Tensor
) -> PICILossTerms:
    """Masked patches alone."""
    prediction0, patches0, _ = model.forward_masked(x0)
    prediction1, patches1, _ = model.forward_masked(x1)
    terms: PICILossTerms = criterion(
        prediction0=prediction0,
        patches0=patches0,
        prediction1=prediction1,
        patches1=patches1,
    )
    return terms


def _contrastive_terms(
    model: PICIModel,
    criterion: PICILoss,
    x0: Tensor,
    x1: Tensor,
    weights: Tensor | None,
) -> PICILossTerms:
    """Masked patches, and both contrasts of the class tokens."""
    prediction0, patches0, class_token0 = model.forward_masked(x0)
    prediction1, patches1, class_token1 = model.forward_masked(x1)
    heads0, heads1 = model.heads(class_token0), model.heads(class_token1)
    terms: PICILossTerms = criterion(
        prediction0=prediction0,
        patches0=patches0,
        prediction1=prediction1,
        patches1=patches1,
        instance0=heads0.instance,
        instance1=heads1.instance,
        assignments0=heads0.assignments,
        assignments1=heads1.assignments,
        weights=weights,
    )
    return terms


def _interaction_terms(
    model: PICIModel,
    criterion: PICILoss,
    x0: Tensor,
    x1: Tensor,
    weights: Tensor | None,
    labels: Tensor,
) -> PICILossTerms:
    """Both contrasts of whole views, and the cluster head against pseudo-labels."""
    heads0, heads1 = model.project(x0), model.project(x1)
    terms: PICILossTerms = criterion(
        instance0=heads0.instance,
        instance1=heads1.instance,
        assignments0=heads0.assignments,
        assignments1=heads1.assignments,
        logits0=heads0.logits,
        labels0=labels,
        logits1=heads1.logits,
        labels1=labels,
        weights=weights,
    )
    return terms
