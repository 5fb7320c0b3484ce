"""One-to-one matching of clusters with classes, or with the clusters of before."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array, eye_array, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor

from hadis_lightly.cluster.lloyd.arrays import as_labels

IntArray = npt.NDArray[np.int64]

# Tables up to this size are matched densely; the Hungarian method is cubic.
DENSE_ELEMENTS = 1 << 22


def match_clusters(
    targets: Tensor | npt.ArrayLike, labels: Tensor | npt.ArrayLike
) -> tuple[dict[int, int], IntArray]:
    """The class of each cluster, and the confusion matrix in that order.

    The matching is that of :func:`best_matching`.

    Args:
        targets: Classes, ``(n,)`` integers; samples with -1 are left out.
        labels: Clusters, ``(n,)`` integers.

    Returns:
        ``{cluster: class}`` of the matched clusters, and counts with one row per class
        ``0 .. max``. Column ``j`` is the cluster matched to class ``j``, or zeros if
        there is none; columns of unmatched clusters follow.

    Example:
        >>> matching, table = match_clusters([0, 0, 1, 1], [2, 2, 0, 2])
        >>> matching
        {2: 0, 0: 1}
        >>> table
        array([[2, 0, 0], [1, 1, 0]])
    """
    classes, clusters = known_labels(targets, labels, at_least_one=True)
    matching, _ = best_matching(classes, clusters)
    n_classes, k = int(classes.max()) + 1, int(clusters.max()) + 1
    column = np.full(k, -1)
    column[list(matching)] = list(matching.values())
    rest = column == -1
    column[rest] = n_classes + np.arange(rest.sum())
    table = np.zeros((n_classes, n_classes + int(rest.sum())), dtype=np.int64)
    np.add.at(table, (classes, column[clusters]), 1)
    return matching, table


def name_clusters(
    targets: Tensor | npt.ArrayLike, labels: Tensor | npt.ArrayLike
) -> dict[int, int]:
    """The classes after which clusters may be named.

    A cluster is named after the class that :func:`match_clusters` gives it, if at least
    half of all its samples are known to be of that class.

    Args:
        targets: Classes, ``(n,)`` integers; -1 where unknown.
        labels: Clusters, ``(n,)`` integers.

    Returns:
        ``{cluster: class}`` of the clusters that have a name.

    Raises:
        ValueError, TypeError: As :func:`match_clusters`.

    Example:
        >>> name_clusters([0, 0, 1, -1, -1], [2, 2, 0, 0, 0])
        {2: 0}
    """
    matching, table = match_clusters(targets, labels)
    sizes = np.bincount(as_labels(labels, name="labels").cpu().numpy())
    return {
        cluster: target
        for cluster, target in matching.items()
        if 2 * table[target, target] >= sizes[cluster]
    }


def best_matching(classes: IntArray, clusters: IntArray) -> tuple[dict[int, int], int]:
    """The one-to-one matching under which most samples agree; exact for any sizes.

    Large tables, in which most pairs share no sample, are matched as sparse graphs; in
    such a matching each pair shares at least one. Among equally good matchings the two
    ways may choose different ones.

    Args:
        classes: ``(n,)``, at least 0.
        clusters: ``(n,)``, at least 0.

    Returns:
        ``{cluster: class}`` and the number of samples that agree.
    """
    n_classes, k = int(classes.max()) + 1, int(clusters.max()) + 1
    if n_classes * k > DENSE_ELEMENTS:
        return _sparse_matching(classes, clusters)
    table = np.zeros((n_classes, k), dtype=np.int64)
    np.add.at(table, (classes, clusters), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    matching = {
        int(cluster): int(target)
        for target, cluster in zip(rows, columns, strict=True)
        if table[:, cluster].any() and table[target].any()
    }
    return matching, int(table[rows, columns].sum())


def _sparse_matching(
    classes: IntArray, clusters: IntArray
) -> tuple[dict[int, int], int]:
    names, rows = np.unique(classes, return_inverse=True)
    labels, columns = np.unique(clusters, return_inverse=True)
    shape = (len(names), len(labels))
    counts = coo_array((np.ones(len(rows)), (rows, columns)), shape).tocsr()
    # The solver matches every row, and takes no zeros: each row has a column of its own
    # that stands for no cluster, and all weights are one higher.
    weights = counts.copy()
    weights.data += 1
    weights = hstack([weights, eye_array(len(names))], format="csr")
    rows, columns = min_weight_full_bipartite_matching(weights, maximize=True)
    is_real = columns < len(labels)
    rows, columns = rows[is_real], columns[is_real]
    matching = dict(zip(labels[columns].tolist(), names[rows].tolist(), strict=True))
    return matching, int(counts[rows, columns].sum())


def known_labels(
    targets: Any, labels: Any, *, at_least_one: bool = False
) -> tuple[IntArray, IntArray]:
    """Classes and clusters of the samples whose class is known, checked."""
    classes = as_labels(targets, name="targets", least=-1).cpu().numpy()
    clusters = as_labels(labels, name="labels").cpu().numpy()
    if classes.shape != clusters.shape:
        raise ValueError(
            f"targets and labels must have the same shape, got {classes.shape} and "
            f"{clusters.shape}."
        )
    known = classes != -1
    if at_least_one and not known.any():
        raise ValueError(
            f"targets must hold at least one known class, got {len(classes)} samples "
            "without one."
        )
    return classes[known], clusters[known]
