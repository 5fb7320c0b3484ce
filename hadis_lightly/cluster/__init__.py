"""Clusters of embeddings, and scores of a clustering; knows nothing of training."""

from hadis_lightly.cluster.collapse import collapse_signs
from hadis_lightly.cluster.head_partition import HeadPartition
from hadis_lightly.cluster.kmeans import KMeans
from hadis_lightly.cluster.matching import match_clusters, name_clusters
from hadis_lightly.cluster.outliers import OutlierDetector, isolation
from hadis_lightly.cluster.partition import Partition
from hadis_lightly.cluster.partition_fitting import fit_partition
from hadis_lightly.cluster.prototype_partition import PrototypePartition
from hadis_lightly.cluster.scores import (
    clustering_scores,
    has_external_scores,
    label_free_scores,
    scores_of,
)
from hadis_lightly.cluster.whitening import Whitening

__all__ = [
    "HeadPartition",
    "KMeans",
    "OutlierDetector",
    "Partition",
    "PrototypePartition",
    "Whitening",
    "clustering_scores",
    "collapse_signs",
    "fit_partition",
    "has_external_scores",
    "isolation",
    "label_free_scores",
    "match_clusters",
    "name_clusters",
    "scores_of",
]
