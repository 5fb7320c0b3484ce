"""Prototypical contrastive loss (PCL): clusters of one batch, pushed apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightly.utils import dist as lightly_dist
from torch import Tensor, nn

from hadis_lightly.checks import check_integer
from hadis_lightly.loss.embeddings import (
    check_embeddings,
    check_gather_distributed,
    check_temperature,
    normalize_rows,
)


def pcl_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    n_clusters: int,
    temperature: float = 0.5,
) -> Tensor:
    """Prototypical contrastive loss over the clusters in the batch, Eq. 9 to 11 of [0].

    Args:
        student: Projections of the student, without noise, ``(n, d)``.
        teacher: Embeddings of the same images by the teacher, ``(n, d)``. They
            receive no gradient.
        labels: Pseudo-labels in ``[0, n_clusters)``, ``(n,)``.
        n_clusters: Number of clusters.
        temperature: Temperature, dimensionless.

    Returns:
        Scalar >= 0.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """
    with torch.autocast(device_type=student.device.type, enabled=False):
        student, teacher = normalize_rows(student), normalize_rows(teacher.detach())
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


def check_labels(labels: Tensor, embeddings: Tensor, n_clusters: int) -> Tensor:
    """Checks that labels are integers in ``[0, n_clusters)``, one for each embedding.

    Returns:
        The labels, as int64.

    Raises:
        TypeError: If the labels are not an integer tensor.
        ValueError: If they are not ``(n,)`` or on another device, or one is out of
            range. On an accelerator the range is asserted there, without waiting.
    """
    is_integer = isinstance(labels, Tensor) and not (
        labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
    )
    if not is_integer:
        kind = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"labels must be an integer tensor, got {kind}.")
    n = len(embeddings)
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), got {tuple(labels.shape)}.")
    if labels.device != embeddings.device:
        raise ValueError(
            f"labels are on {labels.device}, but the embeddings on {embeddings.device}."
        )
    labels = labels.long()
    in_range = ((labels >= 0) & (labels < n_clusters)).all()
    message = f"labels must lie in [0, {n_clusters})"
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        # NOTE: A comparison here on the host would stall the device at every step.
        torch._assert_async(in_range, message)
        return labels
    try:
        torch._assert_async(in_range, message)
    except RuntimeError:
        low, high = labels.min().item(), labels.max().item()
        raise ValueError(f"{message}, got values from {low} to {high}.") from None
    return labels


def check_n_clusters(n_clusters: int) -> int:
    """Returns the number of clusters if it is an integer of at least 2, else raises."""
    check_integer("n_clusters", n_clusters, least=2)
    return n_clusters


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
        self.n_clusters = check_n_clusters(n_clusters)
        self.temperature = check_temperature("temperature", temperature)
        self.gather_distributed = check_gather_distributed(gather_distributed)

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """Returns the loss of one direction."""
        check_embeddings(student=student, teacher=teacher)
        labels = check_labels(labels, student, self.n_clusters)
        if self.gather_distributed and lightly_dist.world_size() > 1:
            student = torch.cat(lightly_dist.gather(student))
            teacher = torch.cat(lightly_dist.gather(teacher.detach()))
            labels = torch.cat(lightly_dist.gather(labels))
        return pcl_loss(student, teacher, labels, self.n_clusters, self.temperature)
