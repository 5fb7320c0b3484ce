"""A backbone that is never trained, and that student and teacher share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.models.checks import check_images, check_module


class FrozenBackbone(nn.Module):
    """A backbone that is never trained, for heads that learn from its features.

    It takes images, or features that it has computed before, which it returns as they
    are: models, losses and callbacks work on either.

    It is always in evaluation mode, and a student and its
    :class:`~hadis_lightly.models.MomentumTeacher` share it, in memory and in
    checkpoints.

    Args:
        backbone: From images to features; not copied. Its parameters no longer require
            gradients.
        reduction: What else is done with the flat features, if anything, such as
            :class:`PrincipalComponents`.

    Shape:
        Images ``(n, c, h, w)`` to features ``(n, d)``; features ``(n, d)`` to
        themselves, as they come out of the reduction.

    Raises:
        TypeError: If the backbone is not a module, or the input is not a floating point
            tensor.

    Example:
        >>> import torch
        >>> backbone = FrozenBackbone(nn.Conv2d(3, 4, 2))
        >>> features = backbone(torch.rand(5, 3, 2, 2))
        >>> features.shape, features.requires_grad, backbone(features) is features
        (torch.Size([5, 4]), False, True)
    """

    def __init__(self, backbone: nn.Module, reduction: nn.Module | None = None) -> None:
        super().__init__()
        check_module("backbone", backbone)
        if reduction is not None:
            check_module("reduction", reduction)
        self.module = backbone.requires_grad_(False)
        self.reduction = nn.Identity() if reduction is None else reduction
        self.train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features ``(n, d)``."""
        check_images(x)
        if x.ndim == 2:
            return x
        features: Tensor = self.reduction(self.module(x).flatten(start_dim=1))
        return features

    def reduced(self, features: Tensor) -> Tensor:
        """Features ``(n, D)`` of a bank as heads see them: components in float16."""
        if isinstance(self.reduction, nn.Identity):
            return features
        components: Tensor = self.reduction(features)
        return components.half()

    def outlier_points(self, features: Tensor) -> Tensor:
        """What outliers are sought among: components, or features as unit vectors."""
        if isinstance(self.reduction, nn.Identity):
            return F.normalize(features, dim=1)
        return features

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Stays in evaluation mode."""
        return super().train(False)
