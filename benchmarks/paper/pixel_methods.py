"""Clustering of pixels by scikit-learn: the rows of the tables that train nothing.

Images of more than 32 x 32 are squeezed to that, so that an image is 3,072 numbers at
most. Nothing grows with the square of the number of images: what would need all
distances has a graph of nearest neighbours in their place.

- ``kmeans``: k-means++, the best of 10 starts.
- ``spectral``: spectral clustering of the graph of 10 nearest neighbours.
- ``agglomerative``: Ward's method, which merges neighbours in the same graph alone; of
  the first 512 principal components where there are more pixels.
- ``nmf``: non-negative matrix factorization into as many parts as clusters; an image
  belongs to the part that it has most of, all parts scaled to length one.
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

from hadis_lightly.artifacts.results import source_commit
from hadis_lightly.atomic import atomic_write
from hadis_lightly.cluster import clustering_scores
from hadis_lightly.data import ArraySource, ImageSource
from hadis_lightly.runs.source import build_source
from hadis_lightly.runs.summary import device_name
from hadis_lightly.settings.sections import Settings

Pixels = NDArray[np.float32]
Labels = NDArray[np.int64]
MAX_SIDE = 32
#: What results hang on beside the settings of the data, by method.
OPTIONS: dict[str, dict[str, int]] = {
    "kmeans": {"max_side": MAX_SIDE, "n_init": 10},
    "spectral": {"max_side": MAX_SIDE, "n_neighbors": 10, "n_init": 10},
    "agglomerative": {"max_side": MAX_SIDE, "n_neighbors": 10, "n_components": 512},
    "nmf": {"max_side": MAX_SIDE, "max_iter": 500},
}
#: The settings of a run that they hang on.
SETTINGS_THAT_MATTER = (
    "data.source", "data.limit", "data.num_channels", "data.on_error", "n_clusters",
    "seed",
)  # fmt: skip


def cluster_by_kmeans(pixels: Pixels, n_clusters: int, seed: int) -> Labels:
    n_init = OPTIONS["kmeans"]["n_init"]
    fitted = KMeans(n_clusters, n_init=n_init, random_state=seed).fit(pixels)
    return fitted.labels_.astype(np.int64)


def cluster_by_spectrum(pixels: Pixels, n_clusters: int, seed: int) -> Labels:
    options = OPTIONS["spectral"]
    fitted = SpectralClustering(
        n_clusters,
        affinity="nearest_neighbors",
        n_neighbors=min(options["n_neighbors"], len(pixels) - 1),
        n_init=options["n_init"],
        random_state=seed,
    ).fit(pixels)
    return fitted.labels_.astype(np.int64)


def cluster_by_merging(pixels: Pixels, n_clusters: int, seed: int) -> Labels:
    options = OPTIONS["agglomerative"]
    if pixels.shape[1] > options["n_components"] < len(pixels):
        # Ward's method keeps two float64 rows for every image.
        reduction = PCA(options["n_components"], svd_solver="covariance_eigh")
        pixels = reduction.fit_transform(pixels)
    n_neighbors = min(options["n_neighbors"], len(pixels) - 1)
    graph = kneighbors_graph(pixels, n_neighbors, include_self=False)
    fitted = AgglomerativeClustering(
        n_clusters, linkage="ward", connectivity=graph.maximum(graph.T)
    ).fit(pixels)
    return fitted.labels_.astype(np.int64)


def cluster_by_parts(pixels: Pixels, n_clusters: int, seed: int) -> Labels:
    nmf = NMF(
        n_clusters,
        init="nndsvda",
        max_iter=OPTIONS["nmf"]["max_iter"],
        random_state=seed,
    )
    shares = nmf.fit_transform(pixels)
    lengths = np.linalg.norm(nmf.components_, axis=1)
    return (shares * lengths).argmax(axis=1).astype(np.int64)


PIXEL_METHODS: dict[str, Callable[[Pixels, int, int], Labels]] = {
    "kmeans": cluster_by_kmeans,
    "spectral": cluster_by_spectrum,
    "agglomerative": cluster_by_merging,
    "nmf": cluster_by_parts,
}


def pixels_of(source: ImageSource) -> Pixels:
    """The images as rows of numbers in [0, 1], float32 ``(n, pixels)``."""
    is_small = isinstance(source, ArraySource) and max(source[0][0].size) <= MAX_SIDE
    first = _row(source[0][0], is_small)
    rows = np.empty((len(source), len(first)), dtype=np.float32)
    for i in range(len(source)):
        rows[i] = _row(source[i][0], is_small)
    return rows


def _row(image: Image.Image, is_small: bool) -> Pixels:
    if not is_small:
        image = image.resize((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32).ravel() / 255


def run_on_pixels(method: str, settings: Settings) -> None:
    """Clusters the images of a run, and writes ``results.json`` into its folder.

    Args:
        method: One of :data:`PIXEL_METHODS`.
        settings: Those of the data, of the number of clusters and the seed count.

    Raises:
        ValueError: If the data cannot be read, or have no classes.
    """
    alone = copy.deepcopy(settings)
    alone.loader.batch_size = 2  # no batch has to be full
    source = build_source(alone)
    if source.training_only is not None:
        labelled = np.flatnonzero(~source.training_only)
        source = source.subset(labelled, "without those for training alone")
    if not (source.targets >= 0).any():
        raise ValueError("no class is known, so that there is nothing to score")
    pixels = pixels_of(source)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        # Graphs in several parts are joined; NMF may stop before it has converged.
        warnings.simplefilter("ignore")
        labels = PIXEL_METHODS[method](pixels, settings.n_clusters, settings.seed)
    content: dict[str, Any] = {
        "method": method,
        "scores": clustering_scores(source.targets, labels),
        "seconds": time.perf_counter() - begin,
        "images": len(source),
        "description": source.description,
        "device": device_name(torch.device("cpu")),
        "commit": source_commit(),
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "options": OPTIONS[method],
        "settings": asdict(settings),
    }
    with atomic_write(Path(str(settings.output_dir)) / "results.json") as file:
        file.write(json.dumps(content, indent=2) + "\n")
