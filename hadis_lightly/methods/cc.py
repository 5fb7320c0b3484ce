"""Contrastive Clustering (CC)."""

from __future__ import annotations

from hadis_lightly.loss import CCLoss
from hadis_lightly.methods.backbone import build_backbone_of
from hadis_lightly.methods.cluster_head import ClusterHeadMethod
from hadis_lightly.models import CCClusterHead, CCInstanceHead, CCModel
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.contrastive_clustering import ContrastiveClustering


class CCMethod(ClusterHeadMethod):
    """Contrastive Clustering: an instance loss and a cluster loss."""

    name = "CC"
    loss_type = CCLoss
    module_type = ContrastiveClustering

    def build_model(
        self, settings: Settings, num_channels: int, *, with_weights: bool = True
    ) -> CCModel:
        """The backbone and its two heads."""
        backbone, input_dim = build_backbone_of(
            settings, num_channels, with_weights=with_weights
        )
        return CCModel(
            backbone,
            CCInstanceHead(input_dim, output_dim=settings.contrast.output_dim),
            CCClusterHead(input_dim, int(settings.n_clusters)),
        )
