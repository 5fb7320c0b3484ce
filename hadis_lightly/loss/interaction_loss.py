"""Cross-level interaction (CLI): k-means on instances teaches the cluster head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.loss.device_checks import check_values
from hadis_lightly.loss.embeddings import check_embeddings
from hadis_lightly.precision import at_least_float32


def interaction_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the cluster head and pseudo-labels, the CLI loss of PICI [0].

    Args:
        logits: What the cluster head's softmax is taken of, ``(n, k)``.
        labels: Pseudo-labels in ``[0, k)``, or -1 for images that are left out,
            ``(n,)``, int64.

    Returns:
        Scalar >= 0, mean over the images that have a label; 0 if none has.

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        logits = at_least_float32(logits)
        total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        return total / (labels >= 0).sum().clamp_min(1)


def check_logits_and_labels(**logits_and_labels: Tensor) -> Tensor:
    """Checks that labels fit their logits.

    Args:
        **logits_and_labels: First the logits, then the labels, under the names the
            caller knows them by.

    Returns:
        The labels, as int64.

    Raises:
        TypeError: If the logits are not floating point or the labels not integer.
        ValueError: If logits are not ``(n, k)`` or labels not ``(n,)`` or on another
            device, or if a label is out of range. On an accelerator the range is
            asserted there, without waiting.
    """
    (name, logits), (labels_name, labels) = logits_and_labels.items()
    check_embeddings(**{name: logits})
    is_integer = isinstance(labels, Tensor) and not (
        labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
    )
    if not is_integer:
        kind = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"{labels_name} must be an integer tensor, got {kind}.")
    n, k = logits.shape
    if labels.shape != (n,):
        raise ValueError(
            f"{labels_name} must have shape ({n},), got {tuple(labels.shape)}."
        )
    if labels.device != logits.device:
        raise ValueError(
            f"{labels_name} are on {labels.device}, but {name} on {logits.device}."
        )
    labels = labels.long()
    holds = (labels >= -1) & (labels < k)
    check_values(labels, holds, f"{labels_name} must lie in [0, {k}) or be -1")
    return labels


class CrossLevelInteractionLoss(nn.Module):
    r"""Pulls the cluster head towards k-means on the instance embeddings, CLI of [0].

    .. math::
        L_{CLI} = -\frac{1}{|\{i: c_i \ge 0\}|} \sum_{i: c_i \ge 0}
            \log \operatorname{softmax}(l_i)_{c_i}

    with the cluster head's logits :math:`l_i` and the pseudo-labels :math:`c_i`, whose
    numbers must be matched to those of the cluster head first. Images of label -1 are
    left out.

    The cross entropy is taken of *logits*. The authors' code gives its cross entropy
    probabilities, so that it takes a softmax of a softmax: its gradient is then small,
    and the loss cannot come near 0.

    Shape: logits ``(n, k)``, labels ``(n,)``.

    Returns: Scalar >= 0, mean over the images that have a label; 0 if none has.

    Raises:
        TypeError: If the logits are not floating point or the labels not integer.
        ValueError: If shapes differ or a label is out of range.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
        >>> CrossLevelInteractionLoss()(logits, torch.tensor([0, 1, -1]))
        tensor(0.1269)

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns the loss of one view."""
        labels = check_logits_and_labels(logits=logits, labels=labels)
        return interaction_loss(logits, labels)
