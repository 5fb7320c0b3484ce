"""Clusters with a name: k-means that starts from examples and keeps all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.cluster.lloyd.arrays import as_labels, as_rows, directions
from hadis_lightly.cluster.lloyd.assign import cluster_sums, to_centers
from hadis_lightly.cluster.lloyd.restarts import Processes
from hadis_lightly.cluster.partition_fitting import fit_partition
from hadis_lightly.cluster.prototype_partition import PrototypePartition
from hadis_lightly.precision import full_precision


@full_precision()
def fit_named_partition(
    embeddings: Tensor | npt.ArrayLike,
    n_clusters: int,
    examples: Tensor | npt.ArrayLike,
    *,
    previous: Tensor | None = None,
    **options: Any,
) -> PrototypePartition:
    """Clusters embeddings by k-means that starts from examples of some clusters.

    Seeded k-means [0]: the clusters of the names start at the means of their examples,
    the others where k-means without examples finds clusters that fit no name. The
    nearest centre decides as ever; an example that would lie in another cluster is a
    centre of its own cluster as well. So ``predict`` knows all examples, and the few
    embeddings nearest to such a one go with it. A cluster without a name that had
    nothing else is then empty.

    Args:
        embeddings: ``(n, d)``; normalised inside.
        n_clusters: Number of clusters k, at least the number of names.
        examples: Name of each embedding, ``(n,)`` integers from 0, each of which has
            one or more; -1 where it has none.
        previous: Labels ``(n,)`` of an earlier partition by the same names, after which
            the clusters without a name are numbered.
        **options: Of :func:`~hadis_lightly.cluster.fit_partition`. From a ``start``,
            all clusters start from the means of its labels.

    Returns:
        The partition, in which cluster c is that of name c. Only an example that equals
        one of another name may lie in another cluster.

    Raises:
        ValueError: As ``fit_partition``; if there are no examples, a name has none, or
            the embeddings without a name are fewer than the clusters without one.

    Example:
        >>> rows = torch.tensor([[9.0, 1], [9, 2], [8, 9], [9, 8], [1, 9], [2, 9]])
        >>> names = [-1, 1, -1, -1, 0, -1]
        >>> fit_named_partition(rows, 2, names, random_state=0).labels.tolist()
        [1, 1, 0, 1, 0, 0]

    - [0]: Basu, Banerjee and Mooney, Semi-supervised clustering by seeding, ICML 2002
    """
    check_integer("n_clusters", n_clusters, least=1)
    data = as_rows(embeddings, name="embeddings")
    names = as_labels(
        examples, name="examples", least=-1, n_rows=len(data), n_clusters=n_clusters
    ).to(data.device)
    rows = directions(data)
    has_direction = rows.any(dim=1)
    is_free = has_direction & (names < 0)
    n_names, n_free = int(names.max()) + 1, int(is_free.sum())
    names = torch.where(has_direction, names, -1)
    sizes = names[names >= 0].bincount(minlength=n_names)
    if n_names == 0 or int(sizes.min()) == 0 or n_free < n_clusters - n_names:
        raise ValueError(
            "examples must have each name from 0 on, other than zeros, and leave an "
            f"embedding for each other cluster, got {sizes.tolist()} of the names and "
            f"{n_free} others for n_clusters={n_clusters}."
        )
    processes = Processes(bool(options.get("distributed", False)))
    start = options.pop("start", None)
    if start is None:
        start = (rows @ _seeds(rows, n_clusters, names, options).T).argmax(dim=1)
    start = as_labels(start, name="start", n_rows=len(data), n_clusters=n_clusters)
    start = torch.where(names >= 0, names, start.to(data.device))
    start = processes.from_first(_without_empty(start, is_free, n_names, n_clusters))
    partition = fit_partition(data, n_clusters, start=start, **options)
    partition = _claiming(partition, data, names, processes)
    if previous is None:
        return partition
    # Two blocks that share no row: a name keeps its number, and the others theirs.
    is_named, labels = partition.labels < n_names, partition.labels
    others = torch.where(previous >= n_names, previous, -1).to(labels.device)
    return partition.renumbered(torch.where(is_named, labels, others))


def _seeds(
    rows: Tensor, n_clusters: int, names: Tensor, options: dict[str, Any]
) -> Tensor:
    """Unit vectors to start from, ``(k, d)``, those of the names first."""
    n_names = int(names.max()) + 1
    sums, counts = cluster_sums(rows[names >= 0], names[names >= 0], n_names)
    seeds = to_centers(sums, counts, rows.new_zeros(sums.shape), metric="cosine")
    if n_names == n_clusters:
        return seeds
    plain = fit_partition(rows, n_clusters, **(options | {"whiten": False})).prototypes
    _, taken = linear_sum_assignment((seeds @ plain.T).cpu().numpy(), maximize=True)
    is_free = torch.ones(n_clusters, dtype=torch.bool, device=plain.device)
    is_free[torch.from_numpy(taken)] = False
    return torch.cat([seeds, F.normalize(plain[is_free], dim=1)])


def _without_empty(
    labels: Tensor, is_free: Tensor, n_names: int, n_clusters: int
) -> Tensor:
    """Labels ``(n,)`` in which each cluster has a row, if need be a free one."""
    for cluster in range(n_names, n_clusters):
        sizes = labels[is_free].bincount(minlength=n_clusters)
        if sizes[cluster] == 0:
            is_spare = is_free & ((labels < n_names) | (sizes[labels] > 1))
            labels[int(is_spare.nonzero()[0])] = cluster
    return labels


def _claiming(
    partition: PrototypePartition, data: Tensor, names: Tensor, processes: Processes
) -> PrototypePartition:
    """The partition with a centre at every example that it would put elsewhere."""
    rows, n_clusters = directions(data), partition.n_clusters
    is_open = names >= 0
    points = rows
    if partition.whitening is not None:
        points = partition.whitening.transform(rows)
    owners = torch.arange(n_clusters, device=rows.device)
    while True:
        wrong = is_open & (partition.labels != names)
        wrong = processes.from_first(wrong.int()).bool()
        if not bool(wrong.any()):
            break
        is_open &= ~wrong
        examples, of_names = points[wrong].to(partition.centers), names[wrong]
        is_apart = _is_apart(partition.centers, owners, examples, of_names)
        is_apart = processes.from_first(is_apart.int()).bool()
        owners = torch.cat([owners[is_apart], of_names])
        centers = torch.cat([partition.centers[is_apart], examples])
        partition = replace(partition, centers=centers, center_labels=owners)
        labels = processes.from_first(partition.predict(data))
        sums, counts = cluster_sums(rows, labels, n_clusters)
        prototypes = to_centers(sums, counts, partition.prototypes, metric="cosine")
        prototypes = processes.from_first(prototypes)
        partition = replace(partition, labels=labels, prototypes=prototypes)
    return partition


def _is_apart(
    centers: Tensor, owners: Tensor, examples: Tensor, names: Tensor
) -> Tensor:
    """Which centres ``(m,)`` lie on no example of another cluster.

    k-means may leave a cluster with nothing but such an example: as a centre of both it
    would be in either.
    """
    apart = torch.cdist(centers, examples, compute_mode="donot_use_mm_for_euclid_dist")
    lengths = torch.linalg.vector_norm(examples, dim=1)
    is_on = apart <= 32 * torch.finfo(apart.dtype).eps * lengths
    is_taken: Tensor = is_on & (owners.unsqueeze(1) != names)
    return ~is_taken.any(dim=1)
