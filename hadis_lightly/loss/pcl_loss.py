"""Prototypical contrastive loss (PCL): clusters of one batch, pushed apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.checks import check_integer
from hadis_lightly.loss.inputs import (
    check_gather_distributed,
    check_labels,
    check_temperature,
    check_tensors,
    gather_batch,
    unit_rows,
)


def pcl_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    n_clusters: int,
    temperature: float = 0.5,
) -> Tensor:
    """Contrast of the prototypes in the batch, Eq. 9 to 11; see :class:`PCLLoss`.

    The teacher receives no gradient.
    """
    with torch.autocast(device_type=student.device.type, enabled=False):
        student, teacher = unit_rows(student), unit_rows(teacher.detach())
        members = _membership(labels, n_clusters).to(student.dtype)  # (n, k)
        counts = members.sum(dim=0)  # (k,)
        present = counts > 0
        means = members.T / counts.clamp_min(1).unsqueeze(1)  # (k, n)
        student_prototypes = F.normalize(means @ student, dim=1)  # mu (k, d)
        teacher_prototypes = F.normalize(means @ teacher, dim=1)  # mu' (k, d)

        # Row k: the positive mu_k . mu'_k on the diagonal, mu_k . mu_j beside it.
        positive = (student_prototypes * teacher_prototypes).sum(dim=1)
        logits = student_prototypes @ student_prototypes.T
        on_diagonal = torch.eye(len(counts), dtype=torch.bool, device=logits.device)
        logits = torch.where(on_diagonal, positive, logits) / temperature
        logits = logits.masked_fill(~present & ~on_diagonal, float("-inf"))
        losses = logits.logsumexp(dim=1) - positive / temperature  # (k,)
        return losses.where(present, 0).sum() / present.sum()


def _membership(labels: Tensor, n_clusters: int) -> Tensor:
    """Which sample is in which cluster, bool ``(n, min(n, n_clusters))``.

    A batch of n samples has at most n clusters. Where there are more in all, a
    cluster goes by the number of its first sample instead of its own, so that the
    cost does not grow with ``n_clusters``.
    """
    n = len(labels)
    if n_clusters > n:
        labels = (labels.unsqueeze(1) == labels).int().argmax(dim=1)
    slots = torch.arange(min(n, n_clusters), device=labels.device)
    return labels.unsqueeze(1) == slots


class PCLLoss(nn.Module):
    r"""Contrasts the prototypes of a batch's clusters, Eq. 9 to 11 of HaDis [0].

    The prototype :math:`\mu_k` of a cluster is the normalised mean of its student
    projections :math:`\hat{z}` in the batch; :math:`\mu'_k`, likewise from the
    teacher, carries no gradient.

    .. math::
        l_k = -\log \frac{\exp(\mu_k^\top \mu'_k / \tau)}
            {\exp(\mu_k^\top \mu'_k / \tau) +
             \sum_{j \ne k} \exp(\mu_k^\top \mu_j / \tau)}

    The loss is the mean of :math:`l_k` over the clusters present in the batch.
    Clusters that are absent take no part. ProPos [1] uses the same loss.

    Args:
        n_clusters: Number of clusters, at least 2.
        temperature: :math:`\tau > 0`, dimensionless. Paper: 0.5.
        gather_distributed: Whether the prototypes are made from the batches of all
            processes. All of them must have the same batch size.

    Shape: student ``(n, d)``, teacher ``(n, d)``, labels ``(n,)``; normalised inside.

    Returns: Scalar >= 0; 0 if a single cluster is present.

    Raises:
        TypeError: If an embedding is not floating point or the labels not integer.
        ValueError: If shapes differ, a label is out of range, ``n_clusters < 2`` or
            ``temperature <= 0``.

    Example:
        >>> student = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
        >>> PCLLoss(n_clusters=3)(student, student, torch.tensor([0, 0, 2]))
        tensor(0.0181)

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    - [1]: ProPos, 2022, https://arxiv.org/abs/2111.11821
    """

    def __init__(
        self,
        n_clusters: int,
        temperature: float = 0.5,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        check_integer("n_clusters", n_clusters, least=2)
        self.n_clusters = n_clusters
        self.temperature = check_temperature("temperature", temperature)
        self.gather_distributed = check_gather_distributed(gather_distributed)

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """Returns the loss of one direction."""
        check_tensors("(n, d)", student=student, teacher=teacher)
        labels = check_labels(labels, student, self.n_clusters)
        if self.gather_distributed:
            student = gather_batch(student)
            teacher = gather_batch(teacher.detach())
            labels = gather_batch(labels)
        return pcl_loss(student, teacher, labels, self.n_clusters, self.temperature)
