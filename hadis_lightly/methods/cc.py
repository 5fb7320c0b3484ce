"""Contrastive Clustering, for the runner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hadis_lightly.loss import CCLoss
from hadis_lightly.methods.backbone import build_backbone_of
from hadis_lightly.methods.cluster_head import ClusterHeadMethod, training_only_of
from hadis_lightly.methods.method import Parts
from hadis_lightly.models import CCClusterHead, CCInstanceHead, CCModel
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.contrastive_clustering import ContrastiveClustering

_PAPER: Mapping[str, Any] = {
    "loader.batch_size": 256,
    "loader.even_clusters": False,
    "optimizer.learning_rate": 3e-4,
    "optimizer.weight_decay": 0.0,
    "optimizer.warmup_epochs": 0,
}


class CCMethod(ClusterHeadMethod):
    """Contrastive Clustering (CC)."""

    settings = _PAPER

    def title(self, settings: Settings) -> str:
        """Its name for people."""
        return "CC"

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
            CCClusterHead(input_dim, settings.n_clusters),
        )

    def build_clusters(
        self, settings: Settings, plain_loader: Iterable[Any]
    ) -> ClusterHeadAssignment:
        """The clusters of the head."""
        return ClusterHeadAssignment(
            settings.n_clusters,
            plain_loader,
            every_n_epochs=settings.clustering.every_n_epochs,
            random_state=settings.seed,
        )

    def build_module(self, parts: Parts) -> ContrastiveClustering:
        """The networks and the loss, in one module."""
        settings = parts.settings
        criterion = CCLoss(
            settings.n_clusters,
            instance_temperature=settings.contrast.instance_temperature,
            cluster_temperature=settings.contrast.cluster_temperature,
            gather_distributed=settings.trainer.gather_distributed,
        )
        return ContrastiveClustering(
            parts.model,
            criterion,
            parts.clusters,
            learning_rate=settings.optimizer.learning_rate,
            weight_decay=settings.optimizer.weight_decay,
            warmup_epochs=settings.optimizer.warmup_epochs,
            training_only=training_only_of(parts.source),
            **parts.of_every_module(),
        )
