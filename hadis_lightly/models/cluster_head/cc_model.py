"""The model of Contrastive Clustering: a backbone with two heads."""

from __future__ import annotations

from torch import Tensor, nn

from hadis_lightly.models.checks import check_images, check_module
from hadis_lightly.models.cluster_head.two_head_model import TwoHeadModel


class CCModel(TwoHeadModel):
    """Backbone, instance head and cluster head of CC [0], from any modules that fit.

    Both heads are given the same features, the backbone's output flattened, so that
    ``(n, d, 1, 1)`` will do. :meth:`project` is for training.

    Args:
        backbone: From images to features.
        instance_head: From flat features to embeddings ``(n, d)``, such as
            :class:`CCInstanceHead`.
        cluster_head: From flat features to probabilities of the clusters ``(n, k)``,
            such as :class:`CCClusterHead`.

    Raises:
        TypeError: If a part is not a module, or images are not a floating point tensor.

    Example:
        >>> import torch
        >>> from hadis_lightly.models import CCClusterHead, CCInstanceHead
        >>> model = CCModel(nn.Flatten(), CCInstanceHead(12), CCClusterHead(12, 3))
        >>> images = torch.rand(2, 3, 2, 2)
        >>> instance, assignments = model.project(images)
        >>> instance.shape, assignments.shape, model.predict(images).shape
        (torch.Size([2, 128]), torch.Size([2, 3]), torch.Size([2]))

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    """

    def __init__(
        self, backbone: nn.Module, instance_head: nn.Module, cluster_head: nn.Module
    ) -> None:
        super().__init__(instance_head, cluster_head)
        check_module("backbone", backbone)
        self.backbone = backbone

    def forward_features(self, x: Tensor) -> Tensor:
        """Returns the flat features ``(n, d)`` of the backbone."""
        check_images(x)
        features: Tensor = self.backbone(x)
        return features.flatten(start_dim=1)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns both heads' outputs for one view of each image, for training.

        Args:
            x: One view of each image, ``(n, c, h, w)``.

        Returns:
            Instance embeddings ``(n, d)``, of length 1 if the head makes them so, and
            probabilities of the clusters ``(n, k)``.
        """
        features = self.forward_features(x)
        return self.instance_head(features), self.cluster_head(features)
