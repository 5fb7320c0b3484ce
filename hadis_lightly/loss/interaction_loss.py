"""Cross-level interaction (CLI): k-means on instances teaches the cluster head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.loss.inputs import check_labels, check_tensors
from hadis_lightly.precision import at_least_float32


def interaction_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of labelled images; see :class:`CrossLevelInteractionLoss`."""
    with torch.autocast(device_type=logits.device.type, enabled=False):
        logits = at_least_float32(logits)
        total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        return total / (labels >= 0).sum().clamp_min(1)


class CrossLevelInteractionLoss(nn.Module):
    r"""Pulls the cluster head towards k-means on the instance embeddings, CLI of [0].

    .. math::
        L_{CLI} = -\frac{1}{|\{i: c_i \ge 0\}|} \sum_{i: c_i \ge 0}
            \log \operatorname{softmax}(l_i)_{c_i}

    with the cluster head's logits :math:`l_i` and the pseudo-labels :math:`c_i`, whose
    numbers must be matched to those of the cluster head first. Images of label -1 are
    left out.

    The cross entropy is of *logits*. The authors' code passes probabilities, so that
    it takes a softmax of a softmax: its gradient is then small, and the loss cannot
    come near 0.

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
        check_tensors("(n, k)", logits=logits)
        labels = check_labels(labels, logits, logits.shape[1], least=-1)
        return interaction_loss(logits, labels)
