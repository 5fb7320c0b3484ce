"""One run of Lloyd's algorithm that looks again only at rows that may change."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.cluster.lloyd import (
    accurate_dtype,
    best_two,
    chunks,
    fill_empty,
    half_squared_norms,
    to_centers,
)


def refine(
    rows: Tensor,
    centers: Tensor,
    *,
    metric: str,
    max_iter: int,
    tol: float,
    chunk_size: int | None = None,
) -> tuple[Tensor, int]:
    r"""Run one start to convergence; the result is Lloyd's, the work is less.

    Each row keeps the lead of its centre's score over the second best. Centres that
    move by :math:`\Delta` can lower a lead by no more than
    :math:`|x| \max_j |\Delta_a - \Delta_j|` and what their squared lengths changed, so
    only rows whose lead may be gone are compared with the centres again. Starts that
    are nearly right (from a subsample, or last epoch's prototypes) leave few of them.

    The arguments are those of :func:`lloyd`, with one start ``(k, d)``.

    Returns:
        Centres ``(k, d)`` and the number of iterations.
    """
    k = len(centers)
    lengths = torch.linalg.vector_norm(rows, dim=1)
    labels, lead = nearest_center(rows, centers, metric=metric, chunk_size=chunk_size)
    sums, counts = cluster_sums(rows, labels, k, chunk_size=chunk_size)
    slack = 32 * torch.finfo(rows.dtype).eps
    for iteration in range(1, max_iter + 1):
        refilled = bool((counts == 0).any()) and fill_empty(
            rows, centers, labels, sums, counts
        )
        updated = to_centers(sums, counts, centers, metric=metric)
        step = updated - centers
        if iteration == max_iter or float(step.square().sum()) <= tol:
            break
        if refilled:
            lead.zero_()
        lead -= _largest_loss(centers, updated, lengths, labels, metric=metric)
        centers = updated
        # The scores themselves are rounded to about this much.
        rounding = slack * lengths * centers.square().sum(1).amax().sqrt()
        doubtful = (lead <= rounding).nonzero().flatten()
        moved = _reassign(
            rows, centers, doubtful, labels, lead, sums, counts, metric=metric
        )
        if not moved and not refilled:
            break
    return updated, iteration


def _reassign(
    rows: Tensor,
    centers: Tensor,
    doubtful: Tensor,
    labels: Tensor,
    lead: Tensor,
    sums: Tensor,
    counts: Tensor,
    *,
    metric: str,
) -> bool:
    """Look at the ``doubtful`` rows again; labels, leads and totals follow in place.

    Returns:
        True if a row has moved to another cluster.
    """
    before = labels[doubtful]
    for part in chunks(len(doubtful), rows.shape[1], None):
        at = doubtful[part]
        labels[at], lead[at] = nearest_center(rows[at], centers, metric=metric)
    after = labels[doubtful]
    moved = before != after
    at = doubtful[moved]
    for sign, to in ((1, after[moved]), (-1, before[moved])):
        gain = cluster_sums(rows, to, len(centers), at=at)
        sums += sign * gain[0]
        counts += sign * gain[1]
    return len(at) > 0


def _largest_loss(
    before: Tensor, after: Tensor, lengths: Tensor, labels: Tensor, *, metric: str
) -> Tensor:
    """By how much each row's lead ``(n,)`` can have shrunk, at most."""
    step = after - before
    exact = "donot_use_mm_for_euclid_dist"  # the other could come out too small
    apart = torch.cdist(step, step, compute_mode=exact).amax(1)  # (k,)
    half = half_squared_norms(after, metric=metric)
    half = half - half_squared_norms(before, metric=metric)
    lift = half - half.amin()
    return lengths * apart[labels] + lift[labels]


def cluster_sums(
    rows: Tensor,
    labels: Tensor,
    n_clusters: int,
    *,
    at: Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum and number of the rows of each cluster.

    Args:
        rows: ``(n, d)``.
        labels: ``(n,)``, or ``(m,)`` with ``at``.
        n_clusters: ``k``.
        at: Indices ``(m,)`` of the rows meant; None means all.
        chunk_size: Rows looked at together; None chooses.

    Returns:
        Sums ``(k, d)`` and counts ``(k,)``, added up in the widest dtype of the device,
        so that many iterations of adding and taking away rows leave little trace.
    """
    wide = accurate_dtype(rows.device)
    sums = torch.zeros(n_clusters, rows.shape[1], dtype=wide, device=rows.device)
    counts = torch.zeros(n_clusters, dtype=wide, device=rows.device)
    for part in chunks(len(labels), max(n_clusters, rows.shape[1]), chunk_size):
        x = rows[part] if at is None else rows[at[part]]
        one_hot = x.new_zeros(n_clusters, len(x))
        one_hot.scatter_(0, labels[part].unsqueeze(0), 1)
        sums += one_hot @ x
        counts += one_hot.sum(1)
    return sums, counts


def nearest_center(
    rows: Tensor, centers: Tensor, *, metric: str, chunk_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """:func:`best_two`, exact where the matrix product is too rough to tell.

    Rows whose two best scores differ by no more than rounding are settled by distances
    computed from differences, in float64; a true tie goes to the lower label.

    Returns:
        Labels ``(n,)`` and leads ``(n,)``, the leads as rough as before.
    """
    labels, lead = best_two(rows, centers, metric=metric, chunk_size=chunk_size)
    reach = centers.square().sum(1).amax().sqrt()
    size = torch.linalg.vector_norm(rows, dim=1).clamp_min(reach)
    close = lead <= 32 * torch.finfo(rows.dtype).eps * size * reach
    unsure = close.nonzero().flatten()
    if len(unsure) > 0:
        wide = accurate_dtype(rows.device)
        exact = centers.to(wide)
        if metric == "cosine":
            exact = F.normalize(exact, dim=1)
        for part in chunks(len(unsure), max(centers.shape), chunk_size):
            distances = torch.cdist(
                rows[unsure[part]].to(wide),
                exact,
                compute_mode="donot_use_mm_for_euclid_dist",
            )
            labels[unsure[part]] = distances.argmin(1)
    return labels, lead


def settle(
    rows: Tensor, centers: Tensor, *, metric: str, chunk_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Final centres and labels; no cluster is empty if the rows allow it.

    Returns:
        Centres ``(k, d)`` and labels ``(n,)``.
    """
    k = len(centers)
    for _ in range(k):
        labels, _ = nearest_center(rows, centers, metric=metric, chunk_size=chunk_size)
        if bool(torch.bincount(labels, minlength=k).all()):
            break
        sums, counts = cluster_sums(rows, labels, k, chunk_size=chunk_size)
        if not fill_empty(rows, centers, labels, sums, counts):
            break
        centers = to_centers(sums, counts, centers, metric=metric)
    return centers, labels
