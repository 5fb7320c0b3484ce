"""Clustering of pixels by scikit-learn: the rows of the tables that train nothing.

Images larger than 32 x 32 are reduced to that. Nothing grows with the square of the
number of images: a graph of nearest neighbours takes the place of all distances.

- ``kmeans``: k-means++, the best of 10 restarts.
- ``spectral``: spectral clustering of the graph of 10 nearest neighbours.
- ``agglomerative``: Ward's method on the same graph; of the first 512 principal
  components where there are more pixels.
- ``nmf``: non-negative matrix factorization with one part per cluster; an image belongs
  to its largest part, parts scaled to length one.
"""

from __future__ import annotations

import copy
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.decomposition import NMF, PCA
from sklearn.neighbors import kneighbors_graph

from hadis_lightly.artifacts.assignments import has_classes
from hadis_lightly.artifacts.results import source_commit
from hadis_lightly.atomic import atomic_write
from hadis_lightly.cluster import clustering_scores
from hadis_lightly.data import ArraySource, ImageSource
from hadis_lightly.runs.source import build_source
from hadis_lightly.runs.summary import device_name
from hadis_lightly.settings.sections import Settings

Pixels = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]
MAX_SIDE = 32
#: The settings of a run that change the result.
SETTINGS_THAT_MATTER = (
    "data.source", "data.limit", "data.num_channels", "data.on_error", "n_clusters",
    "seed",
)  # fmt: skip


def cluster_by_kmeans(pixels: Pixels, n_clusters: int, seed: int) -> Labels:
    return KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(pixels)


def cluster_by_spectrum(pixels: Pixels, n_clusters: int, seed: int) -> Labels:
    return SpectralClustering(
        n_clusters,
        affinity="nearest_neighbors",
        n_neighbors=min(10, len(pixels) - 1),
        random_state=seed,
    ).fit_predict(pixels)


def cluster_by_merging(pixels: Pixels, n_clusters: int, seed: int) -> Labels:
    if pixels.shape[1] > 512 < len(pixels):
        # Ward's method keeps two float64 rows for every image.
        pixels = PCA(512, svd_solver="covariance_eigh").fit_transform(pixels)
    graph = kneighbors_graph(pixels, min(10, len(pixels) - 1), include_self=False)
    return AgglomerativeClustering(
        n_clusters, linkage="ward", connectivity=graph.maximum(graph.T)
    ).fit_predict(pixels)


def cluster_by_parts(pixels: Pixels, n_clusters: int, seed: int) -> Labels:
    nmf = NMF(n_clusters, init="nndsvda", max_iter=500, random_state=seed)
    fractions = nmf.fit_transform(pixels)
    lengths = np.linalg.norm(nmf.components_, axis=1)
    return (fractions * lengths).argmax(axis=1)


PIXEL_METHODS: dict[str, Callable[[Pixels, int, int], Labels]] = {
    "kmeans": cluster_by_kmeans,
    "spectral": cluster_by_spectrum,
    "agglomerative": cluster_by_merging,
    "nmf": cluster_by_parts,
}


def pixels_of(source: ImageSource) -> Pixels:
    """The images as rows of numbers in [0, 1], float32 ``(n, pixels)``."""
    is_small = isinstance(source, ArraySource) and max(source[0][0].size) <= MAX_SIDE
    side = (MAX_SIDE, MAX_SIDE)
    rows = []
    for i in range(len(source)):
        image = source[i][0]
        if not is_small:
            image = image.resize(side, Image.Resampling.BOX)
        rows.append(np.asarray(image).ravel())
    return np.stack(rows).astype(np.float32) / 255


def run_on_pixels(method: str, settings: Settings) -> None:
    """Clusters the images of a run, and writes ``results.json`` into its folder."""
    alone = copy.deepcopy(settings)
    alone.loader.batch_size = 2  # no batch has to be full
    source = build_source(alone)
    if source.training_only is not None:
        labelled = np.flatnonzero(~source.training_only)
        source = source.subset(labelled, "without those for training only")
    if not has_classes(source.targets):
        raise ValueError("fewer than two classes are known: there is nothing to score")
    pixels = pixels_of(source)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        # Graphs in several parts are joined; NMF may stop before it has converged.
        warnings.simplefilter("ignore")
        labels = PIXEL_METHODS[method](pixels, settings.n_clusters, settings.seed)
    content: dict[str, Any] = {
        "method": method,
        "scores": clustering_scores(source.targets, labels.astype(np.int64)),
        "seconds": time.perf_counter() - begin,
        "images": len(source),
        "description": source.description,
        "device": device_name(torch.device("cpu")),
        "commit": source_commit(),
        "versions": {"scikit-learn": sklearn.__version__},
        "settings": asdict(settings),
    }
    with atomic_write(Path(str(settings.output_dir)) / "results.json") as file:
        file.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
