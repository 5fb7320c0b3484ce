"""Clusters that lost their rows, while k-means runs and when it ends."""

from __future__ import annotations

import torch
from torch import Tensor

from hadis_lightly.cluster.assign import cluster_sums, nearest_center, own_distance
from hadis_lightly.cluster.prepare import Frame


def rounding_distance(lengths: Tensor) -> float:
    """Squared distance below which rows of these lengths ``(n,)`` may be one."""
    return float((4 * torch.finfo(lengths.dtype).eps * lengths.amax()).square())


def fill_empty(
    rows: Tensor,
    centers: Tensor,
    labels: Tensor,
    sums: Tensor,
    counts: Tensor,
    *,
    least: float = 0.0,
) -> dict[int, int]:
    """Give every empty cluster of one run the row farthest from all centres.

    The row leaves its old cluster, so the inertia cannot rise. Where no row is away
    from its centre, the data have fewer distinct rows than there are clusters, and
    the cluster stays empty. ``labels``, ``sums`` and ``counts`` are changed in place.

    Args:
        rows: ``(n, d)``, prepared.
        centers: ``(k, d)``.
        labels: ``(n,)``.
        sums: Sums of the rows of each cluster, ``(k, d)``.
        counts: Number of the rows of each cluster, ``(k,)``.
        least: Squared distance from its centre that a row must exceed.

    Returns:
        The row that each filled cluster got.
    """
    distance = own_distance(rows, centers, labels)
    filled: dict[int, int] = {}
    for empty in (counts == 0).nonzero().flatten().tolist():
        # The only row of a cluster must not leave it.
        movable = torch.where(counts[labels] > 1, distance, -1.0)
        farthest = int(movable.argmax())
        if movable[farthest] <= least:
            break
        row, donor = rows[farthest], labels[farthest].clone()
        sums[donor] -= row
        counts[donor] -= 1
        sums[empty] = row
        counts[empty] = 1
        labels[farthest] = empty
        distance = torch.minimum(
            distance,
            torch.cdist(
                rows, row.unsqueeze(0), compute_mode="donot_use_mm_for_euclid_dist"
            ).square()[:, 0],
        )
        filled[empty] = farthest
    return filled


def settle(
    data: Tensor,
    rows: Tensor,
    centers: Tensor,
    *,
    frame: Frame,
    metric: str,
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Final centres and labels; no cluster is empty if the rows allow it.

    Args:
        data: The caller's rows ``(n, d)``.
        rows: The same, prepared.
        centers: ``(k, d)``, where k-means has ended.
        frame: What lies between ``data`` and ``rows``.
        metric: ``"cosine"`` or ``"euclidean"``.
        chunk_size: Rows looked at together; None chooses.

    Returns:
        Centres ``(k, d)`` as the caller sees them, the same centres as k-means sees
        them again (both rounded), and the label ``(n,)`` of the nearest one.
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
        return outside, seen, labels
    # A centre that is one of the rows but for rounding shall be that row: rows that
    # are equal to it are then at distance 0, and only different ones can move.
    place(_rows_meant(rows, seen, labels, noise=frame.noise(rows)))
    labels = assign()
    for _ in range(k):
        sums, counts = cluster_sums(rows, labels, k, chunk_size=chunk_size)
        filled = fill_empty(rows, seen, labels.clone(), sums, counts)
        if not filled:
            break
        place(filled)
        labels = assign()
    return outside, seen, labels


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
