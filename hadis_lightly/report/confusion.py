"""Clusters beside known classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from hadis_lightly.cluster import match_clusters
from hadis_lightly.report.report_data import IntArray, ReportData

#: A larger matrix is left out, the list of mix-ups stays.
MAX_MATRIX_SIDE = 200
_NUM_MIX_UPS = 10


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
    classes, table = _table(data)
    own = {target: cluster for cluster, target in match_classes(data).items()}
    matched = [own[target] for target in classes.tolist() if target in own]
    rest = [k for k in range(data.n_clusters) if k not in set(matched)]
    order = matched + [cluster for cluster in rest if table[:, cluster].any()]
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
    is_readable = max(len(classes), len(order)) <= MAX_MATRIX_SIDE
    return {
        "classes": classes.tolist(),
        "clusters": order,
        "counts": table[:, order].tolist() if is_readable else None,
        "mix_ups": mix_ups,
    }


def _table(data: ReportData) -> tuple[IntArray, IntArray]:
    """Classes that occur, ``(c,)``, and counts of each in each cluster, ``(c, k)``."""
    known = data.targets >= 0
    classes, index = np.unique(data.targets[known], return_inverse=True)
    table = np.zeros((len(classes), data.n_clusters), dtype=np.int64)
    np.add.at(table, (index, data.labels[known]), 1)
    return classes.astype(np.int64), table
