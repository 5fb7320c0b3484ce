"""Clusters of embeddings, and scores of a clustering; knows nothing of training."""

from hadis_lightly.cluster.cluster_tree import ClusterTree, fit_tree
from hadis_lightly.cluster.head_partition import HeadPartition
from hadis_lightly.cluster.kmeans import KMeans
from hadis_lightly.cluster.merging import fit_merged_partition, merge_clusters
from hadis_lightly.cluster.n_clusters_choice import NClustersChoice, choose_n_clusters
from hadis_lightly.cluster.named_partition import fit_named_partition
from hadis_lightly.cluster.outliers import OutlierDetector, isolation
from hadis_lightly.cluster.partition import Partition
from hadis_lightly.cluster.partition_fitting import fit_partition
from hadis_lightly.cluster.prototype_partition import PrototypePartition
from hadis_lightly.cluster.scoring.collapse import collapse_signs
from hadis_lightly.cluster.scoring.matching import match_clusters, name_clusters
from hadis_lightly.cluster.scoring.scores import (
    clustering_scores,
    has_external_scores,
    label_free_scores,
    scores_of,
)
from hadis_lightly.cluster.whitening import Whitening

__all__ = [
    "ClusterTree",
    "HeadPartition",
    "KMeans",
    "NClustersChoice",
    "OutlierDetector",
    "Partition",
    "PrototypePartition",
    "Whitening",
    "choose_n_clusters",
    "clustering_scores",
    "collapse_signs",
    "fit_merged_partition",
    "fit_named_partition",
    "fit_partition",
    "fit_tree",
    "has_external_scores",
    "isolation",
    "label_free_scores",
    "match_clusters",
    "merge_clusters",
    "name_clusters",
    "scores_of",
]
