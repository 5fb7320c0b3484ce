"""LightningModules and callbacks for anybody's Trainer."""

from __future__ import annotations

from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.contrastive_clustering import ContrastiveClustering
from hadis_lightly.training.hadis import HaDis
from hadis_lightly.training.health import DivergedError, HealthMonitor
from hadis_lightly.training.pici import PICI
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans

__all__ = [
    "PICI",
    "ClusterHeadAssignment",
    "ContrastiveClustering",
    "DivergedError",
    "HaDis",
    "HealthMonitor",
    "PrototypeKMeans",
]
