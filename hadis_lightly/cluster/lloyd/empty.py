"""Clusters that lost their rows, while k-means runs and when it ends."""

from __future__ import annotations

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd.assign import nearest_center, own_distance
from hadis_lightly.cluster.lloyd.prepare import Frame


def rounding_distance(lengths: Tensor) -> float:
    """Squared distance below which rows of these lengths ``(n,)`` may be one."""
    return float((4 * torch.finfo(lengths.dtype).eps * lengths.amax()).square())


def farthest_rows(
    rows: Tensor, centers: Tensor, labels: Tensor, *, least: float = 0.0
) -> dict[int, int]:
    """For every empty cluster of one run, the row farthest from all centres.

    Where no row is away from its centre, the data have fewer distinct rows than there
    are clusters, and the cluster has none.

    Args:
        rows: ``(n, d)``, prepared.
        centers: ``(k, d)``.
        labels: ``(n,)``, of the nearest centre.
        least: Squared distance from its centre that a row must exceed.

    Returns:
        The row for each cluster.
    """
    counts = torch.bincount(labels, minlength=len(centers))
    distance = own_distance(rows, centers, labels)
    found: dict[int, int] = {}
    for empty in (counts == 0).nonzero().flatten().tolist():
        farthest = int(distance.argmax())
        if distance[farthest] <= least:
            break
        found[empty] = farthest
        apart = torch.cdist(
            rows,
            rows[farthest].unsqueeze(0),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        distance = torch.minimum(distance, apart.square()[:, 0])
    return found


def fill_empty(
    rows: Tensor,
    centers: Tensor,
    labels: Tensor,
    *,
    metric: str,
    least: float,
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Centres, labels and leads when empty clusters have taken rows far from all.

    Centres that had no rows move to :func:`farthest_rows`, and each row goes to the
    nearest centre: the inertia falls. The arguments are those of
    :func:`farthest_rows` and :func:`nearest_center`.

    Returns:
        Centres ``(k, d)``, labels ``(n,)`` and leads ``(n,)``, or None if there is no
        cluster to fill, or no row to fill it.
    """
    filled = None
    for _ in range(len(centers)):
        found = farthest_rows(rows, centers, labels, least=least)
        if not found:
            break
        centers = centers.clone()
        centers[list(found)] = rows[list(found.values())]
        labels, lead = nearest_center(
            rows, centers, metric=metric, chunk_size=chunk_size
        )
        filled = centers, labels, lead
    return filled


def settle(
    data: Tensor,
    rows: Tensor,
    centers: Tensor,
    *,
    frame: Frame,
    metric: str,
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Final centres and labels; no cluster is empty if the rows allow it.

    Args:
        data: The caller's rows ``(n, d)``.
        rows: The same, prepared.
        centers: ``(k, d)``, where k-means has ended.
        frame: What lies between ``data`` and ``rows``.
        metric: ``"cosine"`` or ``"euclidean"``.
        chunk_size: Rows looked at together; None chooses.

    Returns:
        Centres ``(k, d)`` as the caller sees them, and the label ``(n,)`` of the
        nearest one as ``predict`` finds it, both rounded.
    """
    k = len(centers)
    outside = frame.outside(centers)
    seen = frame.inside(outside)
    originals = data if metric == "euclidean" else rows

    def assign() -> Tensor:
        return nearest_center(rows, seen, metric=metric, chunk_size=chunk_size)[0]

    def place(filled: dict[int, int]) -> None:
        for cluster, row in filled.items():
            outside[cluster], seen[cluster] = originals[row], rows[row]

    labels = assign()
    if bool(torch.bincount(labels, minlength=k).all()):
        return outside, labels
    # A centre that is one of the rows but for rounding shall be that row: rows that
    # are equal to it are then at distance 0, and only different ones can move.
    place(_rows_meant(rows, seen, labels, noise=frame.noise(rows)))
    labels = assign()
    for _ in range(k):
        found = farthest_rows(rows, seen, labels)
        if not found:
            break
        place(found)
        labels = assign()
    return outside, labels


def _rows_meant(
    rows: Tensor, centers: Tensor, labels: Tensor, *, noise: float
) -> dict[int, int]:
    """The nearest row of each cluster whose centre it is, to a distance ``noise``."""
    distance = own_distance(rows, centers, labels)
    order = distance.argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]
    sizes = torch.bincount(labels, minlength=len(centers))
    first = order[(sizes.cumsum(0) - sizes).clamp_max(len(rows) - 1)]  # (k,)
    meant = (sizes > 0) & (distance[first] <= noise**2)
    at = meant.nonzero().flatten()
    return dict(zip(at.tolist(), first[at].tolist(), strict=True))
