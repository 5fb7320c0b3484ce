"""How good a clustering is: against known classes, and without them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from sklearn.metrics.cluster import contingency_matrix
from torch import Tensor

from hadis_lightly.cluster.lloyd.arrays import (
    as_labels,
    as_rows,
    check_columns,
    check_finite,
    directions,
)
from hadis_lightly.cluster.lloyd.assign import accurate_dtype

IntArray = npt.NDArray[np.int64]


def clustering_scores(
    targets: Tensor | npt.ArrayLike, labels: Tensor | npt.ArrayLike
) -> dict[str, float]:
    r"""NMI, ACC and ARI of cluster labels against known classes.

    ACC is the share of samples whose cluster is matched to their class, by the
    one-to-one matching that maximises it (Hungarian). With more clusters than classes
    some clusters stay unmatched, and their samples count as wrong; with fewer, some
    classes do.

    Args:
        targets: Classes, ``(n,)`` integers; samples with -1 are left out.
        labels: Clusters, ``(n,)`` integers.

    Returns:
        ``{"nmi": ..., "acc": ..., "ari": ...}``: NMI (arithmetic mean) and ACC in
        [0, 1], ARI in [-0.5, 1].

    Raises:
        ValueError: If the shapes differ or are not ``(n,)``, no target is known, or a
            target or label is below its range.
        TypeError: If the values are not integers.

    Example:
        >>> scores = clustering_scores([0, 0, 1, 1], [1, 1, 0, 0])
        >>> [round(scores[name], 3) for name in ("nmi", "acc", "ari")]
        [1.0, 1.0, 1.0]
        >>> clustering_scores([0, 0, 1, -1], [1, 0, 0, 0])["acc"]
        0.6666666666666666
    """
    classes, clusters = _known(targets, labels)
    table = contingency_matrix(classes, clusters)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return {
        "nmi": float(normalized_mutual_info_score(classes, clusters)),
        "acc": float(table[rows, columns].sum() / len(classes)),
        "ari": float(adjusted_rand_score(classes, clusters)),
    }


def match_clusters(
    targets: Tensor | npt.ArrayLike, labels: Tensor | npt.ArrayLike
) -> tuple[dict[int, int], IntArray]:
    """The class of each cluster, and the confusion matrix in that order.

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
    classes, clusters = _known(targets, labels)
    n_classes, k = int(classes.max()) + 1, int(clusters.max()) + 1
    table = np.zeros((n_classes, k), dtype=np.int64)
    np.add.at(table, (classes, clusters), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    matching = {
        int(cluster): int(target)
        for target, cluster in zip(rows, columns, strict=True)
        if table[:, cluster].any() and table[target].any()
    }
    return matching, _in_class_order(table, matching)


def _in_class_order(table: IntArray, matching: dict[int, int]) -> IntArray:
    n_classes, k = table.shape
    unmatched = [cluster for cluster in range(k) if cluster not in matching]
    ordered = np.zeros((n_classes, n_classes + len(unmatched)), dtype=np.int64)
    for cluster, target in matching.items():
        ordered[:, target] = table[:, cluster]
    ordered[:, n_classes:] = table[:, unmatched]
    return ordered


def _known(targets: Any, labels: Any) -> tuple[IntArray, IntArray]:
    """Classes and clusters of the samples whose class is known, checked."""
    classes = as_labels(targets, name="targets", least=-1).cpu().numpy()
    clusters = as_labels(labels, name="labels").cpu().numpy()
    if classes.shape != clusters.shape:
        raise ValueError(
            f"targets and labels must have the same shape, got {classes.shape} and "
            f"{clusters.shape}."
        )
    known = classes != -1
    if not known.any():
        raise ValueError(
            f"targets must hold at least one known class, got {len(classes)} samples "
            "without one."
        )
    return classes[known], clusters[known]


def label_free_scores(
    features: Tensor | npt.ArrayLike,
    labels: Tensor | npt.ArrayLike,
    centers: Tensor | npt.ArrayLike,
    *,
    sample_size: int = 2000,
    random_state: int = 0,
) -> dict[str, float]:
    r"""Scores of a clustering when no class is known.

    Args:
        features: ``(n, d)``; the cosine of a row of zeros is taken as 0.
        labels: Clusters, ``(n,)`` integers in ``[0, k)``.
        centers: Prototypes, ``(k, d)``.
        sample_size: Samples drawn for the silhouette, whose cost is quadratic.
        random_state: Seed of that draw.

    Returns:
        ``silhouette`` (cosine, in [-1, 1]; NaN unless the sample has at least 2
        clusters and fewer clusters than samples), ``size_min`` and ``size_max``
        (samples in the smallest and largest cluster), ``size_entropy``
        (:math:`-\sum_k q_k \log q_k / \log K` of the shares :math:`q`: 1 when all are
        equal, 0 when one holds everything) and ``prototype_cosine`` (mean cosine of a
        sample to its own prototype).

    Example:
        >>> scores = label_free_scores(torch.eye(2), [0, 1], torch.eye(2))
        >>> scores["prototype_cosine"], scores["size_max"]
        (1.0, 1.0)
    """
    rows = as_rows(features, name="features")
    check_finite(rows, name="features")
    prototypes = as_rows(centers, name="centers").to(rows.device)
    check_columns(prototypes, rows.shape[1], name="centers")
    n, k = len(rows), len(prototypes)
    clusters = as_labels(labels, name="labels", n_rows=n, n_clusters=k)
    clusters = clusters.to(rows.device)
    sizes = torch.bincount(clusters, minlength=k)
    entropy = float(torch.special.entr(sizes.cpu().double() / n).sum())
    rows = directions(rows)
    cosine = (rows * directions(prototypes)[clusters]).sum(dim=1).clamp(-1, 1)
    return {
        "silhouette": _silhouette(rows, clusters, sample_size, random_state),
        "size_min": float(sizes.min()),
        "size_max": float(sizes.max()),
        "size_entropy": entropy / float(np.log(k)) if k > 1 else 1.0,
        "prototype_cosine": float(cosine.mean(dtype=accurate_dtype(cosine.device))),
    }


def _silhouette(rows: Tensor, clusters: Tensor, size: int, seed: int) -> float:
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    at = order[:size].to(rows.device)
    sample, found = rows[at].cpu().numpy(), clusters[at].cpu().numpy()
    if not 2 <= len(np.unique(found)) < len(found):
        return float("nan")
    return float(silhouette_score(sample, found, metric="cosine"))
