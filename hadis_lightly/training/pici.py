"""PICI as a LightningModule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hadis_lightly.checks import check_integer
from hadis_lightly.loss import PICILoss, PICILossTerms
from hadis_lightly.models import PICIModel
from hadis_lightly.models.cluster_head.pici_model import HeadOutputs
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.cluster_head_module import (
    ClusterHeadModule,
    ClusterHeadOptions,
)
from hadis_lightly.training.inputs import views_of

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PICI(ClusterHeadModule):
    """Trains a :class:`~hadis_lightly.models.PICIModel` as in PICI [0].

    Three phases: the network learns to reconstruct masked patches (PISD); then both
    contrastive losses of the class tokens are added (PICD); at the end k-means on the
    instance embeddings guides the cluster head (CLI), beside the contrastive losses.
    Adam at a constant learning rate.

    In the first two phases half of the patches of every view are masked. NOTE: In the
    last phase views are whole, as images are when they are clustered: nothing is
    reconstructed there. :class:`ClusterHeadAssignment` describes the pseudo-labels.

    Args:
        model: Masked autoencoder, instance head and cluster head.
        criterion: The loss.
        callback: Assigns images to clusters and finds pseudo-labels: its
            ``pseudo_label_epochs`` are the last phase. The module brings it along.
        pretraining_epochs: Epochs of the first phase. Paper: 200 of 1050.
        learning_rate: Learning rate of Adam. Paper: 1e-4.
        **options: See :class:`ClusterHeadModule`.

    Raises:
        TypeError, ValueError: See :class:`ClusterHeadModule`.

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """

    model_type = PICIModel
    criterion_type = PICILoss
    model: PICIModel
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
        callback: ClusterHeadAssignment | None = None,
        *,
        pretraining_epochs: int = 200,
        learning_rate: float = 1e-4,
        **options: Unpack[ClusterHeadOptions],
    ) -> None:
        super().__init__(
            model, criterion, callback, learning_rate=learning_rate, **options
        )
        check_integer("pretraining_epochs", pretraining_epochs, least=0)
        self.pretraining_epochs = pretraining_epochs
        self._masked_terms = self.compiled(_masked_terms)
        self._interaction_terms = self.compiled(_interaction_terms)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss of a batch ``((x0, x1), targets, keys)``."""
        (x0, x1), keys = views_of(batch, most=2)
        parts = self.model, self.criterion, x0, x1
        labels = None if self.callback is None else self.callback.pseudo_labels(keys)
        if self.current_epoch < self.pretraining_epochs:
            terms = self._masked_terms(*parts, None, with_contrasts=False)
        elif labels is None:
            weights = self.weights_of(keys)
            terms = self._masked_terms(*parts, weights, with_contrasts=True)
        else:
            weights = self.weights_of(keys)
            if weights is not None:
                labels = labels.masked_fill(weights == 0, -1)
            terms = self._interaction_terms(*parts, weights, labels)
        self.log_losses(terms)
        return terms.loss


def _masked_terms(
    model: PICIModel,
    criterion: nn.Module,
    x0: Tensor,
    x1: Tensor,
    weights: Tensor | None,
    *,
    with_contrasts: bool,
) -> PICILossTerms:
    """Masked patches, and if asked for both contrasts of the class tokens."""
    prediction0, patches0, class_token0 = model.forward_masked(x0)
    prediction1, patches1, class_token1 = model.forward_masked(x1)
    inputs: dict[str, Any] = {}
    if with_contrasts:
        inputs = _contrasted(model.heads(class_token0), model.heads(class_token1))
        inputs["weights"] = weights
    terms: PICILossTerms = criterion(
        prediction0=prediction0,
        patches0=patches0,
        prediction1=prediction1,
        patches1=patches1,
        **inputs,
    )
    return terms


def _interaction_terms(
    model: PICIModel,
    criterion: nn.Module,
    x0: Tensor,
    x1: Tensor,
    weights: Tensor | None,
    labels: Tensor,
) -> PICILossTerms:
    """Both contrasts of whole views, and the cluster head against pseudo-labels."""
    heads0, heads1 = model.project(x0), model.project(x1)
    terms: PICILossTerms = criterion(
        **_contrasted(heads0, heads1),
        logits0=heads0.logits,
        labels0=labels,
        logits1=heads1.logits,
        labels1=labels,
        weights=weights,
    )
    return terms


def _contrasted(heads0: HeadOutputs, heads1: HeadOutputs) -> dict[str, Any]:
    """What both contrastive losses compare."""
    return {
        "instance0": heads0.instance,
        "instance1": heads1.instance,
        "assignments0": heads0.assignments,
        "assignments1": heads1.assignments,
    }
