"""Clusters that have lost all their rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd.assign import nearest_center, own_distance


class Filled(NamedTuple):
    """Clusters after the empty ones have taken rows."""

    centers: Tensor  # (k, d)
    labels: Tensor  # (n,)
    lead: Tensor  # (n,)
    taken: dict[int, int]  # the row that each filled cluster took as its centre


def fill_empty(
    rows: Tensor,
    centers: Tensor,
    labels: Tensor,
    *,
    metric: str,
    offset: Tensor | None = None,
) -> Filled | None:
    """Moves the centres of empty clusters to rows far from all centres.

    Every row then goes to its nearest centre, and the inertia falls.

    Args:
        rows: ``(n, d)``, prepared.
        centers: ``(k, d)``.
        labels: ``(n,)``, of the nearest centre.
        metric: ``"cosine"`` or ``"euclidean"``.
        offset: ``(d,)``, what was subtracted from the rows; None for nothing.

    Returns:
        None if no cluster is empty, or every row coincides with its centre up to
        rounding: there are fewer distinct rows than clusters then.
    """
    filled = None
    taken: dict[int, int] = {}
    for _ in range(len(centers)):
        found = _farthest_rows(rows, centers, labels, offset)
        if not found:
            break
        taken |= found
        centers = centers.clone()
        centers[list(found)] = rows[list(found.values())]
        labels, lead = nearest_center(rows, centers, metric=metric)
        filled = Filled(centers, labels, lead, taken)
    return filled


def _farthest_rows(
    rows: Tensor, centers: Tensor, labels: Tensor, offset: Tensor | None
) -> dict[int, int]:
    """For each empty cluster the row farthest from all centres, as far as there are."""
    counts = torch.bincount(labels, minlength=len(centers))
    empty = (counts == 0).nonzero().flatten().tolist()
    found: dict[int, int] = {}
    if not empty:
        return found
    size = torch.linalg.vector_norm(rows, dim=1).amax()
    if offset is not None:
        size = size + torch.linalg.vector_norm(offset)
    rounding = float((4 * torch.finfo(rows.dtype).eps * size).square())
    distance = own_distance(rows, centers, labels)
    for cluster in empty:
        farthest = int(distance.argmax())
        if distance[farthest] <= rounding:
            break
        found[cluster] = farthest
        apart = torch.cdist(
            rows,
            rows[farthest].unsqueeze(0),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        distance = torch.minimum(distance, apart.square()[:, 0])
    return found


def settle(
    originals: Tensor, rows: Tensor, centers: Tensor, *, offset: Tensor, metric: str
) -> tuple[Tensor, Tensor]:
    """Final centres with the ``offset`` added, and the labels ``predict`` will find.

    ``rows`` are ``originals - offset``. No cluster is empty if the rows allow it.
    """
    outside = centers + offset
    inside = outside - offset  # rounded twice, as in predict
    labels, _ = nearest_center(rows, inside, metric=metric)
    filled = fill_empty(rows, inside, labels, metric=metric, offset=offset)
    if filled is not None:
        labels = filled.labels
        outside[list(filled.taken)] = originals[list(filled.taken.values())]
    return outside, labels
