"""What others would do to find the number of clusters.

Each takes rows ``(n, d)`` of length one and the numbers to try, and gives one:

- ``silhouette``, ``Davies-Bouldin``: scikit-learn's scores of k-means, the best.
- ``gap``: gap statistic [0] with uniform references in the box of the principal
  components, the smallest number within one standard error of the next.
- ``HDBSCAN``: scikit-learn's; a cluster has at least a hundredth of the rows, at least
  five.
- ``X-means``, ``DipMeans``: clustpy's, which try no numbers.

- [0]: Tibshirani, Walther and Hastie, 2001
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN
from sklearn.metrics import davies_bouldin_score, silhouette_score

from hadis_lightly.cluster import KMeans

Rows = NDArray[np.float64]


def _kmeans(rows: Rows, k: int, seed: int) -> KMeans:
    return KMeans(k, metric="euclidean", random_state=seed).fit(rows)


def by_silhouette(rows: Rows, numbers: Sequence[int], seed: int) -> int:
    def score(k: int) -> float:
        return float(silhouette_score(rows, _kmeans(rows, k, seed).labels_.numpy()))

    return max(numbers, key=score)


def by_davies_bouldin(rows: Rows, numbers: Sequence[int], seed: int) -> int:
    def score(k: int) -> float:
        return float(davies_bouldin_score(rows, _kmeans(rows, k, seed).labels_.numpy()))

    return min(numbers, key=score)


def by_gap(rows: Rows, numbers: Sequence[int], seed: int, n_references: int = 5) -> int:
    draw = np.random.default_rng(seed)
    centered = rows - rows.mean(0)
    turned = centered @ np.linalg.svd(centered, full_matrices=False)[2].T
    low, high = turned.min(0), turned.max(0)
    references = [draw.uniform(low, high, turned.shape) for _ in range(n_references)]
    gaps, errors = [], []
    for k in numbers:
        own = np.log(_kmeans(turned, k, seed).inertia_)
        others = [np.log(_kmeans(other, k, seed).inertia_) for other in references]
        gaps.append(np.mean(others) - own)
        errors.append(np.std(others) * (1 + 1 / n_references) ** 0.5)
    for i, k in enumerate(numbers[:-1]):
        if gaps[i] >= gaps[i + 1] - errors[i + 1]:
            return k
    return numbers[-1]


def by_hdbscan(rows: Rows, numbers: Sequence[int], seed: int) -> int:
    least = max(5, len(rows) // 100)
    found = HDBSCAN(min_cluster_size=least, copy=True).fit(rows).labels_
    return int(found.max()) + 1


def by_xmeans(rows: Rows, numbers: Sequence[int], seed: int) -> int:
    from clustpy.centroid import XMeans

    return int(XMeans(random_state=seed).fit(rows).n_clusters_)


def by_dipmeans(rows: Rows, numbers: Sequence[int], seed: int) -> int:
    from clustpy.centroid import DipMeans

    return int(DipMeans(random_state=seed).fit(rows).n_clusters_)


METHODS: dict[str, Callable[[Rows, Sequence[int], int], int]] = {
    "silhouette": by_silhouette,
    "Davies-Bouldin": by_davies_bouldin,
    "gap": by_gap,
    "HDBSCAN": by_hdbscan,
    "X-means": by_xmeans,
    "DipMeans": by_dipmeans,
}


def sample(rows: torch.Tensor, size: int, seed: int) -> Rows:
    """Some of the rows, in float64."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    drawn: Rows = rows[order[:size]].double().numpy()
    return drawn
