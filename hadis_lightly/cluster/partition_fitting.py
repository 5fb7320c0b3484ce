"""From embeddings to a partition: k-means on the cosine, or in the whitened space."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.cluster.kmeans import KMeans
from hadis_lightly.cluster.lloyd.assign import cluster_sums
from hadis_lightly.cluster.lloyd.prepare import (
    as_integers,
    as_rows,
    check_finite,
    check_integer,
    check_labels,
)
from hadis_lightly.cluster.lloyd.restarts import Processes
from hadis_lightly.cluster.prototype_partition import (
    Partition,
    checked_directions,
)
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
    start: Tensor | npt.ArrayLike | None = None,
    distributed: bool = False,
) -> Partition:
    """Clusters embeddings by k-means, on the cosine or in the whitened space.

    Args:
        embeddings: ``(n, d)``; normalised inside. Computed in float32 unless float64.
        n_clusters: Number of clusters k.
        n_init: Restarts of k-means.
        random_state: Seed of k-means.
        whiten: Whether k-means sees whitened embeddings, see :class:`Whitening`.
        start: Labels ``(n,)`` in ``[0, k)`` from whose clusters k-means starts, once.
            If one of them is empty it starts as usual.
        distributed: With several processes of torch.distributed, whether they share the
            restarts; the embeddings must be the same in all of them, and so is the
            partition that they find, to the last bit.

    Raises:
        ValueError: If there are fewer embeddings than clusters, one is not finite or
            has no direction, or a setting is out of its range.
        TypeError: If an argument has a wrong type.

    Example:
        >>> embeddings = F.normalize(torch.tensor([[9.0, 1], [9, 2], [1, 9], [2, 9]]))
        >>> partition = fit_partition(embeddings, 2, random_state=0)
        >>> (partition.predict(embeddings) == partition.labels).all()
        tensor(True)
    """
    check_integer("n_clusters", n_clusters, least=1)
    if not isinstance(whiten, bool):
        raise TypeError(f"whiten must be a bool, got {whiten!r}")
    data = as_rows(embeddings, name="embeddings")
    check_finite(data, name="embeddings")
    rows = points = checked_directions(data)
    processes = Processes(distributed)
    whitening = None
    if whiten:
        whitening = Whitening(min_components=max(1, n_clusters - 1)).fit(rows)
        whitening = _from_first(whitening, processes)
        points = whitening.transform(rows)
    kmeans = KMeans(
        n_clusters,
        metric="euclidean" if whiten else "cosine",
        init=_init(points, start, n_clusters),
        n_init=n_init,
        random_state=random_state,
        distributed=distributed,
    ).fit(points)
    prototypes = centers = kmeans.cluster_centers_
    if whiten:
        prototypes = _prototypes(rows, points, centers, kmeans.labels_)
        prototypes = processes.from_first(prototypes)
    partition = Partition(kmeans.labels_, centers, prototypes, whitening)
    # What predict says of them, also where two centres are equally near.
    return replace(partition, labels=processes.from_first(partition.nearest(rows)))


def _from_first(whitening: Whitening, processes: Processes) -> Whitening:
    """The whitening of process 0: eigenvectors may come with another sign or order."""
    if processes.size == 1:
        return whitening
    components = whitening.components_
    wanted = processes.from_first(
        torch.tensor(whitening.n_components_, device=components.device)
    )
    if int(wanted) != whitening.n_components_:
        components = components.new_empty(len(components), int(wanted))
    state = {"mean": whitening.mean_, "components": components}
    return Whitening.from_state_dict(
        {name: processes.from_first(value) for name, value in state.items()}
    )


def _init(
    points: Tensor, start: Tensor | npt.ArrayLike | None, n_clusters: int
) -> Tensor | Literal["k-means++"]:
    """Means of the points with each label, ``(k, d)``, or k-means++ if one has none."""
    if start is None:
        return "k-means++"
    labels = as_integers(start, name="start", least=0).to(points.device)
    check_labels(labels, len(points), n_clusters, name="start")
    sums, counts = cluster_sums(points, labels, n_clusters)
    if int(counts.min()) == 0:
        return "k-means++"
    means: Tensor = (sums / counts.unsqueeze(1)).to(points)
    return means


def _prototypes(
    rows: Tensor, points: Tensor, centers: Tensor, labels: Tensor
) -> Tensor:
    """Mean direction of the rows of each cluster, ``(k, d)``.

    A cluster without rows, or whose rows cancel out, has the row whose point is
    nearest to its centre.
    """
    sums, counts = cluster_sums(rows, labels, len(centers))
    means = F.normalize(sums, dim=1).to(rows)
    lengths = torch.linalg.vector_norm(sums, dim=1)
    for cluster in (lengths <= 1e-6 * counts).nonzero().flatten().tolist():
        apart = (points - centers[cluster]).square().sum(1)
        means[cluster] = rows[int(apart.argmin())]
    return means
