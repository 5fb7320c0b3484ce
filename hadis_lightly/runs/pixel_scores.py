"""k-means on the raw pixels, for comparison."""

from __future__ import annotations

import numpy as np

from hadis_lightly.artifacts.assignments import has_classes
from hadis_lightly.cluster import KMeans, clustering_scores
from hadis_lightly.data import ArraySource, ImageSource
from hadis_lightly.settings.sections import Settings


def pixel_scores(
    source: ImageSource, settings: Settings, n_clusters: int
) -> dict[str, float] | None:
    """Scores of k-means on the raw pixels; None if fewer than two classes are known."""
    if not has_classes(source.targets):
        return None
    if source.training_only is not None:
        source = source.subset(np.flatnonzero(~source.training_only), "those scored")
    size = (settings.views.size_px, settings.views.size_px)
    images = (source.read(i) for i in range(len(source)))
    if not isinstance(source, ArraySource):  # sizes may differ
        images = (image.resize(size) for image in images)
    pixels = [np.asarray(image, dtype=np.float32).ravel() / 255 for image in images]
    kmeans = KMeans(
        n_clusters,
        metric="euclidean",
        n_init=settings.clustering.n_init,
        random_state=settings.seed,
    ).fit(np.stack(pixels))
    return clustering_scores(source.targets, kmeans.labels_)
