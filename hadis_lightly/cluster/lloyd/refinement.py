"""One run of Lloyd's algorithm that looks again only at rows that may change."""

from __future__ import annotations

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd.assign import (
    chunks,
    cluster_sums,
    half_squared_norms,
    nearest_center,
    to_centers,
)
from hadis_lightly.cluster.lloyd.empty import fill_empty


def refine(
    rows: Tensor, centers: Tensor, *, metric: str, max_iter: int, tol: float
) -> tuple[Tensor, int]:
    r"""Runs one start to convergence; the result is Lloyd's, the work is less.

    Each row keeps the lead of its centre's score over the second best. Centres that
    move by :math:`\Delta` lower a lead by at most
    :math:`|x| \max_j |\Delta_a - \Delta_j|` plus the change of their squared lengths,
    so only rows whose lead may be gone are compared with the centres again. Starts that
    are nearly right (from a subsample, or last epoch's prototypes) leave few of them.

    The arguments are those of :func:`~hadis_lightly.cluster.lloyd.iterate.lloyd`, with
    one start ``(k, d)``.

    Returns:
        Centres ``(k, d)`` and the number of iterations.
    """
    k = len(centers)
    lengths = torch.linalg.vector_norm(rows, dim=1)
    labels, lead = nearest_center(rows, centers, metric=metric)
    sums, counts = cluster_sums(rows, labels, k)
    slack = 32 * torch.finfo(rows.dtype).eps
    for iteration in range(1, max_iter + 1):
        if bool((counts == 0).any()):
            filled = fill_empty(rows, centers, labels, metric=metric)
            if filled is not None:
                centers, labels, lead, _ = filled
                sums, counts = cluster_sums(rows, labels, k)
        updated = to_centers(sums, counts, centers, metric=metric)
        step = updated - centers
        if iteration == max_iter or float(step.square().sum()) <= tol:
            break
        if _is_rounding(step, centers):
            break
        lead -= _largest_loss(centers, updated, lengths, labels, metric=metric)
        centers = updated
        # The scores themselves are rounded to about this much.
        rounding = slack * lengths * centers.square().sum(1).amax().sqrt()
        doubtful = (lead <= rounding).nonzero().flatten()
        at, before = _reassign(rows, centers, doubtful, labels, lead, metric=metric)
        if len(at) == 0:
            break
        for sign, of in ((1, labels[at]), (-1, before)):
            gained = cluster_sums(rows, of, k, at=at)
            sums += sign * gained[0]
            counts += sign * gained[1]
    return updated, iteration


def _reassign(
    rows: Tensor,
    centers: Tensor,
    doubtful: Tensor,
    labels: Tensor,
    lead: Tensor,
    *,
    metric: str,
) -> tuple[Tensor, Tensor]:
    """Updates labels and leads of the ``doubtful`` rows in place.

    Returns:
        Indices of the rows that changed their cluster, and their clusters before.
    """
    before = labels[doubtful]
    for part in chunks(len(doubtful), rows.shape[1]):
        at = doubtful[part]
        labels[at], lead[at] = nearest_center(rows[at], centers, metric=metric)
    moved = before != labels[doubtful]
    return doubtful[moved], before[moved]


def _is_rounding(step: Tensor, centers: Tensor) -> bool:
    """Whether no centre has moved by more than rounding may move it.

    Centres of nearly equal rows would go round in a circle.
    """
    eps = 8 * torch.finfo(centers.dtype).eps
    length = torch.linalg.vector_norm(centers, dim=1)
    return bool((torch.linalg.vector_norm(step, dim=1) <= eps * length).all())


def _largest_loss(
    before: Tensor, after: Tensor, lengths: Tensor, labels: Tensor, *, metric: str
) -> Tensor:
    """Upper bound of what each row's lead ``(n,)`` has lost."""
    step = after - before
    exact = "donot_use_mm_for_euclid_dist"  # the other could come out too small
    apart = step.new_empty(len(step))  # (k,)
    for part in chunks(len(step), len(step)):
        apart[part] = torch.cdist(step[part], step, compute_mode=exact).amax(1)
    half = half_squared_norms(after, metric=metric)
    half = half - half_squared_norms(before, metric=metric)
    lift = half - half.amin()
    return lengths * apart[labels] + lift[labels]
