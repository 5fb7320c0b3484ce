"""Lloyd's algorithm on prepared rows, for many restarts at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd.assign import (
    QUICK_INERTIA,
    chunks,
    cluster_sums,
    half_squared_norms,
    nearest_center,
    quick_dtype,
    to_centers,
    total_distance,
)
from hadis_lightly.cluster.lloyd.empty import fill_empty
from hadis_lightly.precision import accurate_dtype

# Below this share of the sum of squares, sums of scores leave too few digits.
ROUGH_INERTIA = 1 / 128
# A warm-up ends when an iteration lowers the inertia by no more than this share of it,
# or of the sum of squares: of duplicates the inertia is only what rounding leaves.
WARM_GAIN, WARM_GAIN_OF_SQUARES = 1e-4, 1e-6


class Runs(NamedTuple):
    """Ends of several runs of k-means."""

    centers: Tensor  # (r, k, d)
    inertia: Tensor  # (r,), of the last assignment or later
    n_iter: list[int]

    def best(self) -> int:
        """The run of lowest inertia."""
        return int(self.inertia.argmin())


def lloyd(
    rows: Tensor, centers: Tensor, *, metric: str, max_iter: int, tol: float
) -> Runs:
    """Runs all restarts together; those that have converged leave the product.

    Args:
        rows: ``(n, d)``, prepared.
        centers: ``(r, k, d)``, the start of each restart.
        metric: ``"cosine"`` or ``"euclidean"``.
        max_iter: Maximum number of iterations of a restart.
        tol: A restart ends when the squared moves of its centres sum to at most this.

    Returns:
        The runs, in the order of the starts.
    """
    lengths = torch.linalg.vector_norm(rows, dim=1)
    squares = lengths.to(accurate_dtype(rows.device)).square().sum()
    found = centers.clone()
    inertia = torch.full_like(centers[:, 0, 0], torch.inf, dtype=squares.dtype)
    n_iter = [0] * len(centers)
    active = torch.arange(len(centers), device=rows.device)
    for iteration in range(1, max_iter + 1):
        current = found[active]
        sums, counts, score = _totals(rows, current, metric=metric)
        updated = _means(rows, current, sums, counts, metric=metric)
        found[active] = updated
        inertia[active] = squares - 2 * score
        moving = (updated - current).square().sum((1, 2)) > tol
        for run in active.tolist():
            n_iter[run] = iteration
        active = active[moving]
        if len(active) == 0:
            break
    for run in (inertia < ROUGH_INERTIA * squares).nonzero().flatten().tolist():
        labels, _ = nearest_center(rows, found[run], metric=metric)
        inertia[run] = total_distance(rows, found[run], labels)
    return Runs(found, inertia, n_iter)


def warm_up(rows: Tensor, centers: Tensor, *, metric: str, max_iter: int) -> Runs:
    """Runs each start until an iteration gains little, with quick products.

    For many clusters, whose restarts gain nothing from a common product. The ends are
    close to minima, but have not converged.

    Args:
        rows: ``(n, d)``, prepared.
        centers: ``(r, k, d)``, the start of each restart.
        metric: ``"cosine"`` or ``"euclidean"``.
        max_iter: Maximum number of iterations of a restart.

    Returns:
        The runs, in the order of the starts; the inertia is that of the last
        assignment, infinite without one.
    """
    lengths = torch.linalg.vector_norm(rows, dim=1)
    squares = float(lengths.to(accurate_dtype(rows.device)).square().sum())
    quick = quick_dtype(rows)
    ends, inertias, n_iter = [], [], []
    for start in centers:
        total, n_done, dtype = math.inf, 0, rows.dtype
        while n_done < max_iter:
            n_done += 1
            labels, score = _quick_labels(rows, start, dtype, metric=metric)
            before, total = total, squares - 2 * score
            sums, counts = cluster_sums(rows, labels, len(start))
            sums, counts = sums.to(rows).unsqueeze(0), counts.to(rows).unsqueeze(0)
            start = _means(rows, start.unsqueeze(0), sums, counts, metric=metric)[0]
            if before - total <= max(WARM_GAIN * total, WARM_GAIN_OF_SQUARES * squares):
                break
            dtype = quick if total > QUICK_INERTIA * squares else rows.dtype
        ends.append(start)
        inertias.append(total)
        n_iter.append(n_done)
    wide = accurate_dtype(rows.device)
    inertia = torch.tensor(inertias, dtype=wide, device=rows.device)
    return Runs(torch.stack(ends), inertia, n_iter)


def _quick_labels(
    rows: Tensor, centers: Tensor, dtype: torch.dtype, *, metric: str
) -> tuple[Tensor, float]:
    """Labels ``(n,)`` by scores of this dtype, and the sum of the best scores."""
    offsets = half_squared_norms(centers, metric=metric).neg().to(dtype)
    columns = centers.to(dtype).T
    labels = torch.empty(len(rows), dtype=torch.long, device=rows.device)
    score = torch.zeros((), dtype=accurate_dtype(rows.device), device=rows.device)
    for part in chunks(len(rows), 2 * len(centers)):
        scores = torch.addmm(offsets, rows[part].to(dtype), columns)
        best, labels[part] = scores.max(1)
        score += best.sum(dtype=score.dtype)
    return labels, float(score)


def _totals(
    rows: Tensor, centers: Tensor, *, metric: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums ``(r, k, d)`` and counts ``(r, k)`` of clusters, best scores ``(r,)``."""
    r, k, d = centers.shape
    flat = centers.reshape(r * k, d)
    offsets = half_squared_norms(flat, metric=metric).neg().unsqueeze(1)  # (rk, 1)
    sums = torch.zeros_like(flat)
    counts = torch.zeros_like(flat[:, 0])
    score = torch.zeros(r, dtype=accurate_dtype(rows.device), device=rows.device)
    for part in chunks(len(rows), r * k):
        x = rows[part]
        scores = torch.addmm(offsets, flat, x.T).view(r, k, -1)
        best, labels = scores.max(1)  # (r, rows)
        one_hot = scores.zero_().scatter_(1, labels.unsqueeze(1), 1).view(r * k, -1)
        sums.addmm_(one_hot, x)
        counts += one_hot.sum(1)
        score += best.sum(1, dtype=score.dtype)
    return sums.view(r, k, d), counts.view(r, k), score


def _means(
    rows: Tensor, centers: Tensor, sums: Tensor, counts: Tensor, *, metric: str
) -> Tensor:
    """New centres ``(r, k, d)``; an empty cluster takes a row."""
    previous = centers
    for run in (counts == 0).any(1).nonzero().flatten().tolist():
        # Labels from another product than the totals, which may break ties otherwise.
        labels, _ = nearest_center(rows, centers[run], metric=metric)
        filled = fill_empty(rows, centers[run], labels, metric=metric)
        if filled is not None:
            previous = previous.clone()
            previous[run], labels = filled.centers, filled.labels
        sums_of_run, counts_of_run = cluster_sums(rows, labels, centers.shape[1])
        sums[run], counts[run] = sums_of_run.to(sums), counts_of_run.to(counts)
    return to_centers(sums, counts, previous, metric=metric)
