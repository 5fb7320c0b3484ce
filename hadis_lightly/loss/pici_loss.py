"""The loss of PICI: reconstruction, two contrasts, and their interaction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor, nn

from hadis_lightly.loss.cc_loss import CCLoss, instance_contrastive_loss
from hadis_lightly.loss.embeddings import check_embeddings
from hadis_lightly.loss.interaction_loss import (
    check_logits_and_labels,
    interaction_loss,
)
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
    (PICD) are those of :class:`CCLoss`. Which terms there are is up to the phase of the
    training. Paper: 200 epochs of PISD alone, 800 of PISD and both contrasts, then 50
    of both contrasts and CLI.

    Args:
        n_clusters: Number of clusters, at least 2.
        instance_temperature: Temperature of the instance loss, > 0. Paper: 0.5.
        cluster_temperature: Temperature of the cluster loss, > 0. Paper: 1.0.
        gather_distributed: Whether all terms are taken over the batches of all
            processes. All of them must have the same batch size, and give the same
            terms.

    Shape: prediction0, patches0, prediction1, patches1 ``(n, m, p)``; instance0,
        instance1 ``(n, d)``; assignments0, assignments1, logits0, logits1 ``(n, k)``;
        labels0, labels1, weights ``(n,)``.

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
        """Returns the loss of both views and its terms.

        Args:
            prediction0: Predicted pixels of one view's masked patches.
            patches0: The pixels of those patches, not normalised.
            prediction1: As ``prediction0``, of the other view.
            patches1: As ``patches0``, of the other view.
            instance0: Instance embeddings of the one view.
            instance1: Those of the other view.
            assignments0: Cluster probabilities of the one view.
            assignments1: Those of the other view.
            logits0: Logits of the cluster head of the one view.
            labels0: Pseudo-labels for them, -1 for images that are left out.
            logits1: As ``logits0``, of the other view.
            labels1: As ``labels0``; may be the same.
            weights: How much each image counts in the cluster loss, by default 1.
        """
        terms = [
            self._reconstruction(prediction0, patches0, prediction1, patches1),
            self._instance(instance0, instance1),
            self._cluster(assignments0, assignments1, weights),
            self._interaction(logits0, labels0, logits1, labels1),
        ]
        present = [term for term in terms if term is not None]
        if not present:
            raise ValueError("PICILoss needs the inputs of at least one term.")
        loss = torch.stack(present).sum()
        zero = torch.zeros_like(loss)
        return PICILossTerms(loss, *(zero if term is None else term for term in terms))

    def _reconstruction(
        self,
        prediction0: Tensor | None,
        patches0: Tensor | None,
        prediction1: Tensor | None,
        patches1: Tensor | None,
    ) -> Tensor | None:
        _check_complete(
            prediction0=prediction0,
            patches0=patches0,
            prediction1=prediction1,
            patches1=patches1,
        )
        if prediction0 is None or patches0 is None:
            return None
        if prediction1 is None or patches1 is None:
            return None
        check_patches(prediction0=prediction0, patches0=patches0)
        check_patches(prediction1=prediction1, patches1=patches1)
        loss = masked_patch_loss(prediction0, patches0)
        loss = (loss + masked_patch_loss(prediction1, patches1)) / 2
        if self._gathers():
            # Batches are of one size: their mean is that of all images.
            loss = torch.cat(lightly_dist.gather(loss.reshape(1))).mean()
        return loss

    def _instance(
        self, instance0: Tensor | None, instance1: Tensor | None
    ) -> Tensor | None:
        _check_complete(instance0=instance0, instance1=instance1)
        if instance0 is None or instance1 is None:
            return None
        check_embeddings(instance0=instance0, instance1=instance1)
        return instance_contrastive_loss(
            instance0,
            instance1,
            self.contrast.instance_temperature,
            self.gather_distributed,
        )

    def _cluster(
        self,
        assignments0: Tensor | None,
        assignments1: Tensor | None,
        weights: Tensor | None,
    ) -> Tensor | None:
        _check_complete(assignments0=assignments0, assignments1=assignments1)
        if assignments0 is None or assignments1 is None:
            if weights is not None:
                raise ValueError("weights given, but not assignments0, assignments1.")
            return None
        loss: Tensor = self.contrast.cluster_loss(assignments0, assignments1, weights)
        return loss

    def _interaction(
        self,
        logits0: Tensor | None,
        labels0: Tensor | None,
        logits1: Tensor | None,
        labels1: Tensor | None,
    ) -> Tensor | None:
        _check_complete(
            logits0=logits0, labels0=labels0, logits1=logits1, labels1=labels1
        )
        if logits0 is None or labels0 is None or logits1 is None or labels1 is None:
            return None
        labels0 = check_logits_and_labels(logits0=logits0, labels0=labels0)
        labels1 = check_logits_and_labels(logits1=logits1, labels1=labels1)
        for name, logits in (("logits0", logits0), ("logits1", logits1)):
            if logits.shape[1] != self.n_clusters:
                raise ValueError(
                    f"{name} must have n_clusters={self.n_clusters} columns, got "
                    f"{logits.shape[1]}."
                )
        if self._gathers():
            # How many images have a label differs from process to process.
            logits0 = torch.cat(lightly_dist.gather(logits0.contiguous()))
            logits1 = torch.cat(lightly_dist.gather(logits1.contiguous()))
            labels0 = torch.cat(lightly_dist.gather(labels0.contiguous()))
            labels1 = torch.cat(lightly_dist.gather(labels1.contiguous()))
        loss = interaction_loss(logits0, labels0) + interaction_loss(logits1, labels1)
        return loss / 2

    def _gathers(self) -> bool:
        return self.gather_distributed and lightly_dist.world_size() > 1


def _check_complete(**inputs: Tensor | None) -> None:
    """Raises if some inputs of a term are given and others are not."""
    given = [name for name, x in inputs.items() if x is not None]
    missing = [name for name, x in inputs.items() if x is None]
    if given and missing:
        raise ValueError(f"{', '.join(given)} given, but not {', '.join(missing)}.")
