"""Which images are shown when there are more than a page can hold."""

from __future__ import annotations

import numpy as np

from hadis_lightly.report.report_data import FloatArray, IntArray, ReportData

#: Most typical and least certain images of every cluster that are always kept.
KEPT_PER_CLUSTER = 24
# Share of the page for the extreme images by each measure.
_EXTREME_SHARE = 1 / 12


def choose_rows(data: ReportData, max_images: int) -> IntArray:
    """Rows that are shown, cluster by cluster, the most typical first.

    Of every cluster the most typical and the least certain are kept, of all images the
    least certain, the farthest and the most isolated; the rest is drawn at random.
    """
    rows = np.arange(data.n_images)
    if data.n_images > max_images:
        chance = np.random.default_rng(0).random(data.n_images)
        rows = np.sort(np.lexsort((chance, _priorities(data, max_images)))[:max_images])
    order = np.lexsort((rows, data.distance[rows], data.labels[rows]))
    return np.asarray(rows[order], dtype=np.int64)


def _priorities(data: ReportData, max_images: int) -> FloatArray:
    """The lower the more wanted, infinite for what chance decides, ``(n,)``."""
    ranks = np.minimum(
        _ranks_within(data.labels, data.distance),
        _ranks_within(data.labels, data.confidence),
    )
    priorities = np.where(ranks < KEPT_PER_CLUSTER, ranks, np.inf)
    n_extreme = max(1, int(max_images * _EXTREME_SHARE))
    for measure in (data.confidence, -data.distance, -data.isolation):
        extreme = np.argsort(measure, kind="stable")[:n_extreme]
        # Spread over the ranks within clusters, so that neither crowds out the other.
        wanted = np.arange(len(extreme)) * KEPT_PER_CLUSTER / n_extreme
        priorities[extreme] = np.minimum(priorities[extreme], wanted)
    return priorities


def _ranks_within(labels: IntArray, values: FloatArray) -> IntArray:
    """Place of every value among those of its cluster, from 0, ``(n,)``."""
    order = np.lexsort((values, labels))
    is_first = np.diff(labels[order], prepend=-1) != 0
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - starts
    return ranks
