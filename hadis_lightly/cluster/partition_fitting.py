"""From embeddings to a partition: k-means on the cosine, or in the whitened space."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy.typing as npt
import torch
from torch import Tensor

from hadis_lightly.checks import check_bool, check_integer
from hadis_lightly.cluster.kmeans import KMeans
from hadis_lightly.cluster.lloyd.arrays import (
    as_labels,
    as_rows,
    check_finite,
    directions,
)
from hadis_lightly.cluster.lloyd.assign import cluster_sums, to_centers
from hadis_lightly.cluster.lloyd.restarts import Processes
from hadis_lightly.cluster.prototype_partition import PrototypePartition
from hadis_lightly.cluster.whitening import Whitening
from hadis_lightly.precision import full_precision


@full_precision()
def fit_partition(
    embeddings: Tensor | npt.ArrayLike,
    n_clusters: int,
    *,
    n_init: int = 10,
    random_state: int | torch.Generator | None = None,
    whiten: bool = False,
    cosine_start: bool = False,
    start: Tensor | npt.ArrayLike | None = None,
    distributed: bool = False,
) -> PrototypePartition:
    """Clusters embeddings by k-means, on the cosine or in the whitened space.

    Args:
        embeddings: ``(n, d)``; normalised inside. Computed in float32 unless float64.
            Rows of zeros have no direction and no say in the clusters; their label is
            that of :meth:`PrototypePartition.predict`.
        n_clusters: Number of clusters k.
        n_init: Restarts of k-means.
        random_state: Seed of k-means.
        whiten: Whether k-means sees whitened embeddings, see :class:`Whitening`.
        cosine_start: With ``whiten``, whether k-means on the whitened embeddings runs
            once, from the clusters that ``n_init`` restarts find on the cosine. Where
            clusters overlap its own restarts differ more from each other.
        start: Labels ``(n,)`` in ``[0, k)``: k-means runs once, from the means of these
            clusters. If one of them is empty it starts as usual.
        distributed: With several processes of torch.distributed, whether they share the
            restarts. The embeddings must be the same in all of them, and the partition
            will be, to the last bit.

    Raises:
        ValueError: If there are fewer embeddings than clusters, not counting those of
            zeros, or one has NaN or infinite values.

    Example:
        >>> embeddings = torch.tensor([[9.0, 1], [9, 2], [1, 9], [2, 9]])
        >>> partition = fit_partition(embeddings, 2, random_state=0)
        >>> (partition.predict(embeddings) == partition.labels).all()
        tensor(True)
    """
    check_integer("n_clusters", n_clusters, least=1)
    check_bool("whiten", whiten)
    check_bool("cosine_start", cosine_start)
    data = as_rows(embeddings, name="embeddings")
    check_finite(data, name="embeddings")
    rows = directions(data)
    has_direction = torch.linalg.vector_norm(rows, dim=1) > 0
    rows = points = _kept(rows, has_direction, n_clusters)
    processes = Processes(distributed)
    whitening = None
    if whiten and cosine_start and start is None:
        start = fit_partition(
            data,
            n_clusters,
            n_init=n_init,
            random_state=random_state,
            distributed=distributed,
        ).labels
    if whiten:
        whitening = _whitening(rows, processes)
        points = whitening.transform(rows)
    kmeans = KMeans(
        n_clusters,
        metric="euclidean" if whiten else "cosine",
        init=_init(points, start, has_direction, n_clusters),
        n_init=n_init,
        random_state=random_state,
        distributed=distributed,
    ).fit(points)
    prototypes = centers = kmeans.cluster_centers_
    if whiten:
        prototypes = _prototypes(rows, points, centers, kmeans.labels_)
        prototypes = processes.from_first(prototypes)
    partition = PrototypePartition(kmeans.labels_, centers, prototypes, whitening)
    # What predict says of them, also where two centres are equally near.
    return replace(partition, labels=processes.from_first(partition.predict(data)))


def _kept(rows: Tensor, has_direction: Tensor, n_clusters: int) -> Tensor:
    """The rows other than zeros, ``(m, d)``; without a copy if there are no zeros."""
    n, m = len(rows), int(has_direction.sum())
    if m == 0:
        raise ValueError(f"embeddings must not be all zeros, got {n} rows of zeros.")
    if n_clusters > m:
        others = f", {n - m} of them zeros" if m < n else ""
        raise ValueError(
            "n_clusters must not exceed the number of embeddings that are not zeros, "
            f"got n_clusters={n_clusters} and {n} embeddings{others}."
        )
    if m == n:
        return rows
    return rows[has_direction]


def _whitening(rows: Tensor, processes: Processes) -> Whitening:
    """The whitening of process 0: eigenvectors may come with another sign or order."""
    state = Whitening().fit(rows).state_dict()
    return Whitening.from_state_dict(
        {name: processes.from_first(value) for name, value in state.items()}
    )


def _init(
    points: Tensor,
    start: Tensor | npt.ArrayLike | None,
    has_direction: Tensor,
    n_clusters: int,
) -> Tensor | Literal["k-means++"]:
    """Means of the points with each label, ``(k, d)``, or k-means++ if one has none."""
    if start is None:
        return "k-means++"
    n = len(has_direction)
    labels = as_labels(start, name="start", n_rows=n, n_clusters=n_clusters)
    labels = labels.to(points.device)[has_direction]
    sums, counts = cluster_sums(points, labels, n_clusters)
    if int(counts.min()) == 0:
        return "k-means++"
    means: Tensor = (sums / counts.unsqueeze(1)).to(points)
    return means


def _prototypes(
    rows: Tensor, points: Tensor, centers: Tensor, labels: Tensor
) -> Tensor:
    """Mean direction of the rows of each cluster, ``(k, d)``.

    A cluster without rows, or whose rows cancel out, gets the row whose point is
    nearest to its centre.
    """
    sums, counts = cluster_sums(rows, labels, len(centers))
    none = rows.new_zeros(sums.shape)
    prototypes = to_centers(sums, counts, none, metric="cosine")
    for cluster in (~prototypes.any(dim=1)).nonzero().flatten().tolist():
        apart = (points - centers[cluster]).square().sum(1)
        prototypes[cluster] = rows[int(apart.argmin())]
    return prototypes
