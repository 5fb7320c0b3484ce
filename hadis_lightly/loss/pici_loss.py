"""The loss of PICI: reconstruction, two contrasts, and their interaction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hadis_lightly.loss.cc_loss import CCLoss
from hadis_lightly.loss.cluster_contrastive_loss import check_columns
from hadis_lightly.loss.inputs import check_labels, check_tensors, gather_batch
from hadis_lightly.loss.interaction_loss import interaction_loss
from hadis_lightly.loss.masked_patch_loss import check_patches, masked_patch_loss


class PICILossTerms(NamedTuple):
    """The loss and its terms, all scalars."""

    loss: Tensor
    """The plain sum, to be minimised."""
    reconstruction: Tensor
    """Masked patches, mean of both views; 0 if there are none."""
    instance: Tensor
    """Contrast of the images; 0 if there are no instance embeddings."""
    cluster: Tensor
    """Contrast of the clusters, minus entropies; 0 if there are no assignments."""
    interaction: Tensor
    """Cluster head against pseudo-labels, mean of both views; 0 if there are none."""


class PICILoss(nn.Module):
    r"""The loss of PICI [0]; what is not given is left out.

    .. math:: L = L_{PISD} + L_{instance} + L_{cluster} + L_{CLI}

    :math:`L_{PISD}` is the mean of :class:`MaskedPatchLoss` over both views,
    :math:`L_{CLI}` that of :class:`CrossLevelInteractionLoss`; the contrastive losses
    (PICD) are those of :class:`CCLoss`. Which terms there are depends on the phase of
    training. Paper: 200 epochs of PISD alone, 800 of PISD and both contrasts, then 50
    of both contrasts and CLI.

    Args:
        n_clusters: Number of clusters, at least 2.
        instance_temperature: Temperature of the instance loss, > 0. Paper: 0.5.
        cluster_temperature: Temperature of the cluster loss, > 0. Paper: 1.0.
        gather_distributed: Whether all terms are taken over the batches of all
            processes. All of them must have the same batch size, and give the same
            terms.

    Shape: of each view, its number 0 or 1 behind the name: ``prediction`` and
        ``patches`` ``(n, m, p)``, see :class:`MaskedPatchLoss`; ``instance``
        ``(n, d)`` and ``assignments`` ``(n, k)``, see :class:`CCLoss`; ``logits``
        ``(n, k)`` of the cluster head and their pseudo-``labels`` ``(n,)``, -1 for
        images that are left out. Of both views: ``weights`` ``(n,)``, how much each
        image counts in the cluster loss, by default 1.

    Returns: :class:`PICILossTerms` of five scalars.

    Raises:
        TypeError: If an input is of the wrong kind.
        ValueError: If shapes differ, a label, a weight or a parameter is out of range,
            a term has only some of its inputs, or there is no input at all.

    Example:
        >>> logits, labels = torch.eye(2), torch.tensor([0, 1])
        >>> criterion = PICILoss(n_clusters=2)
        >>> terms = criterion(
        ...     logits0=logits, labels0=labels, logits1=logits, labels1=labels
        ... )
        >>> [round(float(term), 4) for term in terms]
        [0.3133, 0.0, 0.0, 0.0, 0.3133]

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """

    def __init__(
        self,
        n_clusters: int,
        instance_temperature: float = 0.5,
        cluster_temperature: float = 1.0,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        self.contrast = CCLoss(
            n_clusters, instance_temperature, cluster_temperature, gather_distributed
        )
        self.n_clusters = n_clusters
        self.gather_distributed = gather_distributed

    def forward(
        self,
        *,
        prediction0: Tensor | None = None,
        patches0: Tensor | None = None,
        prediction1: Tensor | None = None,
        patches1: Tensor | None = None,
        instance0: Tensor | None = None,
        instance1: Tensor | None = None,
        assignments0: Tensor | None = None,
        assignments1: Tensor | None = None,
        logits0: Tensor | None = None,
        labels0: Tensor | None = None,
        logits1: Tensor | None = None,
        labels1: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> PICILossTerms:
        """Returns the loss of both views and its terms."""
        terms = (
            self._reconstruction(
                prediction0=prediction0,
                patches0=patches0,
                prediction1=prediction1,
                patches1=patches1,
            ),
            self._instance(instance0=instance0, instance1=instance1),
            self._cluster(
                weights, assignments0=assignments0, assignments1=assignments1
            ),
            self._interaction(
                logits0=logits0, labels0=labels0, logits1=logits1, labels1=labels1
            ),
        )
        present = [term for term in terms if term is not None]
        if not present:
            raise ValueError("PICILoss needs the inputs of at least one term.")
        loss = torch.stack(present).sum()
        zero = torch.zeros_like(loss)
        return PICILossTerms(loss, *(zero if term is None else term for term in terms))

    def _reconstruction(self, **inputs: Tensor | None) -> Tensor | None:
        given = _all_or_none(inputs)
        if not given:
            return None
        prediction0, patches0, prediction1, patches1 = given
        check_patches(prediction0=prediction0, patches0=patches0)
        check_patches(prediction1=prediction1, patches1=patches1)
        loss = masked_patch_loss(prediction0, patches0)
        loss = (loss + masked_patch_loss(prediction1, patches1)) / 2
        if self.gather_distributed:
            # Batches are of one size: their mean is that of all images.
            loss = gather_batch(loss.reshape(1)).mean()
        return loss

    def _instance(self, **inputs: Tensor | None) -> Tensor | None:
        given = _all_or_none(inputs)
        return self.contrast.instance_loss(*given) if given else None

    def _cluster(
        self, weights: Tensor | None, **inputs: Tensor | None
    ) -> Tensor | None:
        given = _all_or_none(inputs)
        if weights is not None and not given:
            raise ValueError("weights given, but not assignments0, assignments1.")
        return self.contrast.cluster_loss(*given, weights) if given else None

    def _interaction(self, **inputs: Tensor | None) -> Tensor | None:
        given = _all_or_none(inputs)
        if not given:
            return None
        logits0, labels0, logits1, labels1 = given
        labels0 = self._check_labels("0", logits0, labels0)
        labels1 = self._check_labels("1", logits1, labels1)
        if self.gather_distributed:
            # How many images have a label differs from process to process.
            logits0, labels0 = gather_batch(logits0), gather_batch(labels0)
            logits1, labels1 = gather_batch(logits1), gather_batch(labels1)
        loss = interaction_loss(logits0, labels0) + interaction_loss(logits1, labels1)
        return loss / 2

    def _check_labels(self, view: str, logits: Tensor, labels: Tensor) -> Tensor:
        check_tensors("(n, k)", **{f"logits{view}": logits})
        check_columns(f"logits{view}", logits, self.n_clusters)
        return check_labels(labels, logits, self.n_clusters, f"labels{view}", least=-1)


def _all_or_none(inputs: dict[str, Tensor | None]) -> list[Tensor]:
    """The inputs of a term, or none; raises if only some are given."""
    given = {name: x for name, x in inputs.items() if x is not None}
    missing = [name for name in inputs if name not in given]
    if given and missing:
        raise ValueError(f"{', '.join(given)} given, but not {', '.join(missing)}.")
    return list(given.values())
