"""Clusters of several centres each, for sets in which some kinds are rare."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.cluster.lloyd.arrays import as_labels, as_rows, directions
from hadis_lightly.cluster.lloyd.assign import cluster_sums, to_centers
from hadis_lightly.cluster.lloyd.restarts import Processes
from hadis_lightly.cluster.partition_fitting import fit_partition
from hadis_lightly.cluster.prototype_partition import PrototypePartition
from hadis_lightly.precision import full_precision

# Centres for each cluster that are tried.
_FACTORS = (1.5, 2.0, 3.0)
_NUM_NEIGHBOURS = 15
# Images whose neighbours are sought, and among which: half a second on a CPU.
_NUM_QUERIES = 4096
_NUM_ROWS = 20_000
# Links between two clusters count relative to their sizes to this power: at 1 large
# clusters join too seldom, at 0.5 the largest takes all.
_POWER = 0.75


def fit_merged_partition(
    embeddings: Tensor | npt.ArrayLike,
    n_clusters: int,
    n_centers: int | None = None,
    **options: Any,
) -> PrototypePartition:
    """Clusters of equal or of very different sizes, whichever the neighbours support.

    k-means prefers clusters of like sizes: it cuts a frequent kind in pieces before it
    gives a rare one a centre. So it also runs with 1.5, 2 and 3 times as many centres,
    which :func:`merge_clusters` joins to as many clusters. Of the four results the one
    is taken whose clusters have the highest :func:`modularity` in the graph of nearest
    neighbours: no labels and no threshold are needed. Where the kinds are equally
    frequent that is nearly always k-means itself.

    Args:
        embeddings: ``(n, d)``; normalised inside.
        n_clusters: Number of clusters k, at least 2.
        n_centers: Number of centres, at least k, if it is to be no other.
        **options: Of :func:`fit_partition`.

    Returns:
        The clusters; the number of their centres tells what was taken.

    Raises:
        ValueError: As :func:`fit_partition`.
    """
    check_integer("n_clusters", n_clusters, least=2)
    data = as_rows(embeddings, name="embeddings")
    processes = Processes(bool(options.get("distributed", False)))
    if n_centers == n_clusters:
        return fit_partition(data, n_clusters, **options)
    start = options.pop("start", None)  # which is for k centres
    if n_centers is not None:
        return _merged(data, n_clusters, n_centers, options)
    best = fit_partition(data, n_clusters, start=start, **options)
    # Of process 0 in all, whose devices may round otherwise.
    highest = processes.from_first(torch.tensor(_quality(data, best))).item()
    for factor in _FACTORS:
        number = math.ceil(factor * n_clusters)
        if number > len(data) // 2:
            break
        found = _merged(data, n_clusters, number, options)
        quality = processes.from_first(torch.tensor(_quality(data, found))).item()
        if quality > highest:
            best, highest = found, quality
    return best


def merge_clusters(
    embeddings: Tensor | npt.ArrayLike, partition: PrototypePartition, n_clusters: int
) -> PrototypePartition:
    """Joins clusters whose embeddings are nearest neighbours of each other.

    One pair after the other, those first that have most links between them, relative
    to the sizes of both to the power 0.75; links are as for :func:`neighbour_links`. A
    cluster keeps the centres of all that it is made of, and the nearest centre decides.

    Args:
        embeddings: Those of the partition, ``(n, d)``; normalised inside.
        partition: Clusters, of one centre each or of several.
        n_clusters: Number of clusters that are left, at least 1.

    Returns:
        The partition with fewer clusters, numbered by their first centres.

    Raises:
        ValueError: If there are not as many embeddings as labels, or too few clusters.

    Example:
        >>> angles = torch.tensor([0.0, 0.1, 0.2, 0.3, 3.0])
        >>> rows = torch.stack([angles.cos(), angles.sin()], dim=1)
        >>> finer = fit_partition(rows, 3, random_state=0)
        >>> merge_clusters(rows, finer, 2).labels.bincount().sort().values
        tensor([1, 4])
    """
    check_integer("n_clusters", n_clusters, least=1)
    rows = directions(as_rows(embeddings, name="embeddings"))
    labels, m = partition.labels, partition.n_clusters
    as_labels(labels, name="partition.labels", n_rows=len(rows), n_clusters=m)
    if n_clusters > m:
        raise ValueError(f"n_clusters must be at most the {m} there are.")
    links = neighbour_links(rows, labels, m)
    owners = _joined(links, labels.bincount(minlength=m), n_clusters).to(labels.device)
    sums, counts = cluster_sums(rows, owners[labels], n_clusters)
    first = torch.stack(
        [partition.prototypes[owners == c][0] for c in range(n_clusters)]
    )
    prototypes = to_centers(sums, counts, first, metric="cosine")
    before = partition.center_labels
    return replace(
        partition,
        labels=owners[labels],
        prototypes=prototypes,
        center_labels=owners if before is None else owners[before],
    )


@full_precision()
def neighbour_links(rows: Tensor, labels: Tensor, n_clusters: int) -> Tensor:
    """Nearest neighbours between clusters, both ways, float64 ``(k, k)``, on the CPU.

    The 15 nearest neighbours of up to 4,096 rows, among up to 20,000, always the same.

    Args:
        rows: Normalised embeddings ``(n, d)``.
        labels: Their clusters, ``(n,)``.
        n_clusters: Number of clusters k.
    """
    drawn = np.random.default_rng(0).permutation(len(rows))[:_NUM_ROWS]
    at = torch.from_numpy(drawn).to(rows.device)
    rows, labels = rows[at], labels[at]
    queries = rows[:_NUM_QUERIES]
    cosines = (queries @ rows.T).fill_diagonal_(-torch.inf)  # none is its own
    num = min(_NUM_NEIGHBOURS, len(rows) - 1)
    found = labels[cosines.topk(num, dim=1).indices]  # (q, num)
    pairs = labels[: len(queries), None] * n_clusters + found
    counts = pairs.flatten().bincount(minlength=n_clusters**2)
    links = counts.reshape(n_clusters, n_clusters).double().cpu()
    return links + links.T


def modularity(links: Tensor) -> float:
    r"""How many more links lie within clusters than by chance, as a share [0].

    .. math:: \sum_c L_{cc} / L - (L_c / L)^2

    Args:
        links: Between clusters, symmetric, ``(k, k)``.

    Returns:
        Below 1; 0 for a single cluster.

    Example:
        >>> modularity(torch.tensor([[4.0, 0.0], [0.0, 4.0]]))
        0.5

    - [0]: Newman, Modularity and community structure in networks, PNAS 2006
    """
    shares = links / links.sum()
    return float(shares.trace() - shares.sum(dim=1).square().sum())


def _merged(
    data: Tensor, n_clusters: int, n_centers: int, options: dict[str, Any]
) -> PrototypePartition:
    finer = fit_partition(data, n_centers, **options)
    return merge_clusters(data, finer, n_clusters)


def _quality(data: Tensor, partition: PrototypePartition) -> float:
    labels = partition.labels
    return modularity(neighbour_links(directions(data), labels, partition.n_clusters))


def _joined(links: Tensor, sizes: Tensor, n_clusters: int) -> Tensor:
    """New cluster of each old one, int64 ``(m,)``, once so many are left."""
    links, sizes = links.clone(), sizes.double().cpu().clamp_min(1)
    numbers = torch.arange(len(sizes))
    owners = numbers.clone()
    for _ in range(len(sizes) - n_clusters):
        closeness = links / torch.outer(sizes, sizes) ** _POWER
        is_left = owners == numbers
        closeness[~(is_left & is_left.unsqueeze(1))] = -1
        a, b = sorted(divmod(int(closeness.fill_diagonal_(-1).argmax()), len(sizes)))
        links[a] += links[b]
        links[:, a] += links[:, b]
        sizes[a] += sizes[b]
        owners[owners == b] = a
    joined: Tensor = torch.unique(owners, return_inverse=True)[1]
    return joined
