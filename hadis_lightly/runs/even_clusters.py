"""Lets a loader draw images so that all clusters come equally often."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hadis_lightly.training.clustering_callback import ClusteringCallback


def draw_evenly(train_loader: Any, clusters: ClusteringCallback[Any]) -> None:
    """Tells the sampler of a loader the clusters of the epoch before.

    The first epoch knows of none: with worker processes its order is asked for before
    the first clustering, without them after it, and both must draw the same.

    Args:
        train_loader: Its sampler is an :class:`~hadis_lightly.data.EpochSampler`.
        clusters: What clusters.
    """
    sampler = train_loader.sampler

    def labels() -> Tensor | None:
        if sampler.epoch == 0 or clusters.partition_ is None:
            return None
        return clusters.labels_

    sampler.cluster_labels = labels
