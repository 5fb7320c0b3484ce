"""The two matrices of the page: similar clusters, and clusters beside classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from hadis_lightly.cluster import match_clusters
from hadis_lightly.report.report_data import FloatArray, IntArray, ReportData

#: More clusters make a matrix that nobody can read.
MAX_SIMILARITY_SIDE = 100
_NUM_PAIRS, _NUM_PAIRS_ALONE = 8, 60
#: A larger matrix is left out, the list of mix-ups stays.
MAX_CONFUSION_SIDE = 200
_NUM_MIX_UPS = 10


def similarity(prototypes: FloatArray) -> dict[str, Any]:
    """Cosines of the prototypes ``(k, d)``, and the closest pairs.

    Returns:
        ``order``, similar clusters side by side, and ``matrix`` in that order, both
        None for more than :data:`MAX_SIMILARITY_SIDE` clusters; ``pairs``: cluster,
        cluster, cosine, the most similar first.

    Example:
        >>> result = similarity(np.array([[1.0, 0], [0, 1], [0.8, 0.6]]))
        >>> [pair[:2] for pair in result["pairs"]]
        [[0, 2], [1, 2], [0, 1]]
    """
    cosines = np.clip(prototypes @ prototypes.T, -1, 1).astype(np.float64)
    has_matrix = len(cosines) <= MAX_SIMILARITY_SIDE
    first, second = np.triu_indices(len(cosines), 1)
    values = cosines[first, second]
    closest = np.argsort(-values, kind="stable")
    closest = closest[: _NUM_PAIRS if has_matrix else _NUM_PAIRS_ALONE]
    pairs = [
        [int(first[at]), int(second[at]), round(float(values[at]), 4)] for at in closest
    ]
    if not has_matrix:
        return {"order": None, "matrix": None, "pairs": pairs}
    order = _similar_side_by_side(cosines)
    matrix = cosines[np.ix_(order, order)].round(3).tolist()
    return {"order": order.tolist(), "matrix": matrix, "pairs": pairs}


def _similar_side_by_side(cosines: FloatArray) -> IntArray:
    """Order of the clusters in which similar ones are neighbours, ``(k,)``."""
    if len(cosines) < 3:
        return np.arange(len(cosines))
    apart = np.clip(1 - (cosines + cosines.T) / 2, 0, None)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart), method="average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), dtype=np.int64)


def match_classes(data: ReportData) -> dict[int, int]:
    """The class that each cluster stands for, one to one; {} without classes."""
    if not data.has_targets:
        return {}
    return match_clusters(data.targets, data.labels)[0]


def confusion(data: ReportData) -> dict[str, Any] | None:
    """Counts of every class in every cluster; None where no class is known.

    Returns:
        ``classes`` (rows), ``clusters`` (columns: a class's own cluster at the place
        of the class, then the unmatched), ``counts`` (None if too many) and
        ``mix_ups``: class, cluster, count, largest first.
    """
    if not data.has_targets:
        return None
    known = data.targets >= 0
    classes, index = np.unique(data.targets[known], return_inverse=True)
    table = np.zeros((len(classes), data.n_clusters), dtype=np.int64)
    np.add.at(table, (index, data.labels[known]), 1)
    own = {target: cluster for cluster, target in match_classes(data).items()}
    matched = [own[target] for target in classes.tolist() if target in own]
    rest = np.setdiff1d(np.flatnonzero(table.any(axis=0)), matched)
    order = [*matched, *rest.tolist()]
    wrong = table.copy()
    for row, target in enumerate(classes.tolist()):
        if target in own:
            wrong[row, own[target]] = 0
    largest = np.argsort(-wrong, axis=None, kind="stable")[:_NUM_MIX_UPS]
    mix_ups = [
        [int(classes[row]), int(cluster), int(wrong[row, cluster])]
        for row, cluster in zip(*np.unravel_index(largest, wrong.shape), strict=True)
        if wrong[row, cluster]
    ]
    is_readable = max(len(classes), len(order)) <= MAX_CONFUSION_SIDE
    return {
        "classes": classes.tolist(),
        "clusters": order,
        "counts": table[:, order].tolist() if is_readable else None,
        "mix_ups": mix_ups,
    }
