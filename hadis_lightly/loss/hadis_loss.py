"""The loss of HaDis: DSA, HSD and PCL together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hadis_lightly.checks import check_integer, check_number
from hadis_lightly.loss.dsa_loss import dsa_loss
from hadis_lightly.loss.hsd_loss import hsd_loss
from hadis_lightly.loss.inputs import (
    check_gather_distributed,
    check_labels,
    check_temperature,
    check_tensors,
    gather_batch,
)
from hadis_lightly.loss.pcl_loss import pcl_loss


class HaDisLossTerms(NamedTuple):
    """The loss and its unweighted terms, all scalars."""

    loss: Tensor
    """The weighted sum, to be minimised."""
    dsa: Tensor
    """Diffused sampling alignment."""
    hsd: Tensor
    """Hardness-aware self-distillation; 0 if its weight is 0."""
    pcl: Tensor
    """Prototypical contrast; 0 if its weight is 0 or there are no labels."""


class HaDisLoss(nn.Module):
    r"""The loss of HaDis [0] in one direction, from one view to the other.

    .. math::
        L = L_{DSA} + \lambda_{HSD} L_{HSD} + \lambda_{PCL} L_{PCL}

    The caller averages the two directions. ``hsd_weight=0`` gives ProPos [1],
    ``pcl_weight=0`` as well gives BYOL [2]; a term of weight 0 is not computed.

    Args:
        n_clusters: Number of clusters, at least 2.
        hsd_weight: :math:`\lambda_{HSD} \ge 0`. Paper: 1.
        pcl_weight: :math:`\lambda_{PCL} \ge 0`. Paper: 0.1, and 0.05 for CIFAR-20 and
            ImageNet-10.
        hsd_temperature: Temperature of HSD, > 0. Paper: 0.5.
        pcl_temperature: Temperature of PCL, > 0. Paper: 0.5.
        gather_distributed: Whether all terms are taken over the batches of all
            processes: HSD then mines its pairs, and PCL forms its prototypes, in the
            global batch. All processes must have the same batch size.

    Shape: student, prediction and teacher ``(n, d)``, labels ``(n,)``.

    Returns: :class:`HaDisLossTerms` of four scalars.

    Raises:
        TypeError: If an embedding is not floating point or the labels not integer.
        ValueError: If shapes differ, a label or a parameter is out of range.

    Example:
        >>> z = torch.eye(4)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> criterion = HaDisLoss(n_clusters=2)
        >>> terms = criterion(student=z, prediction=z, teacher=z, labels=labels)
        >>> [round(float(term), 4) for term in terms]
        [0.7058, 0.0, 0.6931, 0.1269]

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    - [1]: ProPos, 2022, https://arxiv.org/abs/2111.11821
    - [2]: BYOL, 2020, https://arxiv.org/abs/2006.07733
    """

    def __init__(
        self,
        n_clusters: int,
        hsd_weight: float = 1.0,
        pcl_weight: float = 0.1,
        hsd_temperature: float = 0.5,
        pcl_temperature: float = 0.5,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        for name, weight in (("hsd_weight", hsd_weight), ("pcl_weight", pcl_weight)):
            check_number(name, weight, 0)
        check_integer("n_clusters", n_clusters, least=2)
        self.n_clusters = n_clusters
        self.hsd_weight = hsd_weight
        self.pcl_weight = pcl_weight
        self.hsd_temperature = check_temperature("hsd_temperature", hsd_temperature)
        self.pcl_temperature = check_temperature("pcl_temperature", pcl_temperature)
        self.gather_distributed = check_gather_distributed(gather_distributed)

    def forward(
        self,
        *,
        student: Tensor,
        prediction: Tensor,
        teacher: Tensor,
        labels: Tensor | None = None,
    ) -> HaDisLossTerms:
        """Returns the loss of one direction and its terms.

        Args:
            student: Projections z of one view, without noise.
            prediction: Predictions p from the (diffused) projections of that view.
            teacher: Teacher embeddings t of the other view. They get no gradient.
            labels: Pseudo-labels; None, as during warm-up, leaves PCL out.
        """
        check_tensors("(n, d)", student=student, prediction=prediction, teacher=teacher)
        teacher = teacher.detach()
        if labels is not None:
            labels = check_labels(labels, student, self.n_clusters)
        if self.gather_distributed:
            student, prediction = gather_batch(student), gather_batch(prediction)
            teacher = gather_batch(teacher)
            labels = None if labels is None else gather_batch(labels)

        dsa = dsa_loss(prediction, teacher)
        hsd = pcl = torch.zeros_like(dsa)
        if self.hsd_weight > 0:
            hsd = hsd_loss(prediction, teacher, self.hsd_temperature)
        if self.pcl_weight > 0 and labels is not None:
            pcl = pcl_loss(
                student, teacher, labels, self.n_clusters, self.pcl_temperature
            )
        loss = dsa + self.hsd_weight * hsd + self.pcl_weight * pcl
        return HaDisLossTerms(loss=loss, dsa=dsa, hsd=hsd, pcl=pcl)
