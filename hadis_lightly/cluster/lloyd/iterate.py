"""Lloyd's algorithm on prepared rows, for many restarts at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd.assign import (
    accurate_dtype,
    best_two,
    chunks,
    cluster_sums,
    half_squared_norms,
    nearest_center,
    to_centers,
    total_distance,
)
from hadis_lightly.cluster.lloyd.empty import fill_empty, rounding_distance

# Restarts that a sample ranks nearly alike are compared on all rows, so many of them.
N_PROMISING = 2
# Centres from a sample that are this much worse on all rows will not catch up.
PROMISING_INERTIA = 1.005
# Of less than this share of the squares, sums of scores leave too few digits.
ROUGH_INERTIA = 1 / 128


class Runs(NamedTuple):
    """What several runs of k-means ended with.

    Attributes:
        centers: ``(r, k, d)``.
        inertia: ``(r,)``, of the last assignment or later.
        n_iter: Iterations made by each run.
    """

    centers: Tensor
    inertia: Tensor
    n_iter: list[int]

    def best(self) -> int:
        """The run of lowest inertia."""
        return int(self.inertia.argmin())


class _Totals(NamedTuple):
    """Sums over the rows assigned to each centre, and the sum of best scores."""

    sums: Tensor  # (r, k, d)
    counts: Tensor  # (r, k)
    score: Tensor  # (r,)


def lloyd(
    rows: Tensor,
    centers: Tensor,
    *,
    metric: str,
    max_iter: int,
    tol: float,
    chunk_size: int | None = None,
) -> Runs:
    """Run all restarts together; those that have converged leave the product.

    Args:
        rows: ``(n, d)``, prepared.
        centers: ``(r, k, d)``, the start of each restart.
        metric: ``"cosine"`` or ``"euclidean"``.
        max_iter: Most iterations of a restart.
        tol: A restart ends when its centres moved by at most this (squared, summed).
        chunk_size: Rows looked at together; None chooses.

    Returns:
        The runs, in the order of the starts.
    """
    lengths = torch.linalg.vector_norm(rows, dim=1)
    squares = lengths.to(accurate_dtype(rows.device)).square().sum()
    least = rounding_distance(lengths)
    found = centers.clone()
    inertia = torch.full_like(centers[:, 0, 0], torch.inf, dtype=squares.dtype)
    n_iter = [0] * len(centers)
    active = torch.arange(len(centers), device=rows.device)
    for iteration in range(1, max_iter + 1):
        current = found[active]
        totals = _totals(rows, current, metric=metric, chunk_size=chunk_size)
        updated = _means(rows, current, totals, metric=metric, least=least)
        found[active] = updated
        inertia[active] = squares - 2 * totals.score
        moving = (updated - current).square().sum((1, 2)) > tol
        for run in active.tolist():
            n_iter[run] = iteration
        active = active[moving]
        if len(active) == 0:
            break
    for run in (inertia < ROUGH_INERTIA * squares).nonzero().flatten().tolist():
        labels, _ = best_two(rows, found[run], metric=metric, chunk_size=chunk_size)
        inertia[run] = total_distance(rows, found[run], labels)
    return Runs(found, inertia, n_iter)


def most_promising(runs: Runs, rank: Callable[[Tensor], Runs]) -> Tensor:
    """The few best of the different centres found on a sample, ``(r, k, d)``.

    Args:
        runs: What was found on the sample.
        rank: Moves centres ``(r, k, d)`` by one iteration on all rows.
    """
    order = runs.inertia.argsort()
    inertia = runs.inertia[order]
    # Restarts that met in the same minimum agree up to rounding and tolerance.
    fresh = torch.ones_like(order, dtype=torch.bool)
    fresh[1:] = inertia.diff() > 1e-5 * inertia[:-1]
    centers = runs.centers[order[fresh]]
    if len(centers) > 1:
        ranked = rank(centers)
        best = ranked.inertia.argsort()[:N_PROMISING]
        close = ranked.inertia[best] <= PROMISING_INERTIA * ranked.inertia[best[0]]
        centers = ranked.centers[best[close]]
    return centers


def _totals(
    rows: Tensor, centers: Tensor, *, metric: str, chunk_size: int | None
) -> _Totals:
    r, k, d = centers.shape
    flat = centers.reshape(r * k, d)
    offsets = half_squared_norms(flat, metric=metric).neg().unsqueeze(1)  # (rk, 1)
    sums = torch.zeros_like(flat)
    counts = torch.zeros_like(flat[:, 0])
    score = torch.zeros(r, dtype=accurate_dtype(rows.device), device=rows.device)
    for part in chunks(len(rows), r * k, chunk_size):
        x = rows[part]
        scores = torch.addmm(offsets, flat, x.T).view(r, k, -1)
        best, labels = scores.max(1)  # (r, rows)
        one_hot = scores.zero_().scatter_(1, labels.unsqueeze(1), 1).view(r * k, -1)
        sums.addmm_(one_hot, x)
        counts += one_hot.sum(1)
        score += best.sum(1, dtype=score.dtype)
    return _Totals(sums.view(r, k, d), counts.view(r, k), score)


def _means(
    rows: Tensor, centers: Tensor, totals: _Totals, *, metric: str, least: float
) -> Tensor:
    """New centres ``(r, k, d)``; an empty cluster gets a row of its own."""
    sums, counts = totals.sums, totals.counts
    previous = centers
    for run in (counts == 0).any(1).nonzero().flatten().tolist():
        # Labels from another product than the totals, which may break ties otherwise.
        labels, _ = nearest_center(rows, centers[run], metric=metric)
        filled = fill_empty(rows, centers[run], labels, metric=metric, least=least)
        if filled is not None:
            previous = previous.clone()
            previous[run], labels, _ = filled
        sums_of_run, counts_of_run = cluster_sums(rows, labels, centers.shape[1])
        sums[run], counts[run] = sums_of_run.to(sums), counts_of_run.to(counts)
    return to_centers(sums, counts, previous, metric=metric)
