"""How good a clustering is: against known classes, and without them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from torch import Tensor

from hadis_lightly.cluster.lloyd.arrays import (
    as_labels,
    as_rows,
    check_columns,
    check_finite,
    directions,
)
from hadis_lightly.cluster.lloyd.assign import chunks
from hadis_lightly.cluster.scoring.matching import best_matching, known_labels
from hadis_lightly.precision import accurate_dtype


def scores_of(
    targets: Tensor | npt.ArrayLike,
    labels: Tensor | npt.ArrayLike,
    embeddings: Tensor | npt.ArrayLike,
    prototypes: Tensor | npt.ArrayLike,
) -> dict[str, float]:
    """All scores of a clustering that mean something.

    Args:
        targets: Classes, ``(n,)`` integers; -1 where unknown.
        labels: Clusters, ``(n,)`` integers in ``[0, k)``.
        embeddings: ``(n, d)``, of any length.
        prototypes: ``(k, d)``.

    Returns:
        ``nmi``, ``acc`` and ``ari`` of :func:`clustering_scores` first, if
        :func:`has_external_scores`; then those of :func:`label_free_scores`.

    Example:
        >>> two = torch.eye(2)
        >>> list(scores_of([0, 1], [1, 0], two, two))[:4]
        ['nmi', 'acc', 'ari', 'silhouette']
        >>> list(scores_of([0, 0], [1, 0], two, two))[:2]
        ['silhouette', 'size_min']
    """
    scores: dict[str, float] = {}
    if has_external_scores(targets, labels):
        scores = clustering_scores(targets, labels)
    return scores | label_free_scores(embeddings, labels, prototypes)


def has_external_scores(
    targets: Tensor | npt.ArrayLike, labels: Tensor | npt.ArrayLike
) -> bool:
    """Whether NMI, ACC and ARI say anything of a clustering.

    With a single class or a single cluster they are 0 or 1 whatever was learnt.

    Args:
        targets: Classes, ``(n,)`` integers; -1 where unknown.
        labels: Clusters, ``(n,)`` integers.

    Returns:
        Whether the samples of known class have at least two classes and lie in at
        least two clusters.

    Raises:
        ValueError, TypeError: As :func:`clustering_scores`, but for unknown targets.
    """
    classes, clusters = known_labels(targets, labels)
    return len(np.unique(classes)) > 1 and len(np.unique(clusters)) > 1


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
        [0, 1], ARI in [-0.5, 1]. They mean nothing for a single class or a single
        cluster, see :func:`has_external_scores`.

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
    classes, clusters = known_labels(targets, labels, at_least_one=True)
    _, n_matched = best_matching(classes, clusters)
    return {
        "nmi": float(normalized_mutual_info_score(classes, clusters)),
        "acc": float(n_matched / len(classes)),
        "ari": float(adjusted_rand_score(classes, clusters)),
    }


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
    own = directions(prototypes)
    cosine = rows.new_empty(n)
    for part in chunks(n, rows.shape[1]):
        cosine[part] = (directions(rows[part]) * own[clusters[part]]).sum(dim=1)
    cosine.clamp_(-1, 1)
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
    sample = directions(rows[at]).cpu().numpy()
    found = clusters[at].cpu().numpy()
    if not 2 <= len(np.unique(found)) < len(found):
        return float("nan")
    return float(silhouette_score(sample, found, metric="cosine"))
