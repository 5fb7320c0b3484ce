"""From the starts of all restarts to the centres of the best one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd.assign import (
    chunks,
    nearest_center,
    total_distance,
)
from hadis_lightly.cluster.lloyd.iterate import Runs, lloyd, warm_up
from hadis_lightly.cluster.lloyd.refinement import refine
from hadis_lightly.cluster.lloyd.restarts import Processes
from hadis_lightly.precision import accurate_dtype

# Restarts that a sample ranks nearly alike are compared on all rows, so many of them.
N_PROMISING = 2
# Centres from a sample that are this much worse on all rows will not catch up.
PROMISING_INERTIA = 1.005


def best_centers(
    rows: Tensor,
    sample: Tensor,
    starts: Tensor,
    *,
    metric: str,
    max_iter: int,
    tol: float,
    processes: Processes,
    warm: bool = False,
) -> tuple[Tensor, int]:
    """Runs all restarts on the sample and the promising ones on all rows.

    Args:
        rows: ``(n, d)``, prepared.
        sample: Rows on which restarts are searched, ``(m, d)``; m = n for all rows.
        starts: ``(r, k, d)``.
        metric: ``"cosine"`` or ``"euclidean"``.
        max_iter: Maximum number of iterations of a restart.
        tol: As in :class:`KMeans`: relative to the mean variance of a column.
        processes: The processes that share the restarts.
        warm: Whether restarts are warmed up with quick products, and only the best is
            run to convergence: for many clusters.

    Returns:
        Centres ``(k, d)`` of the run of lowest inertia and its iterations.
    """
    n_done = 0
    variance = _mean_variance(sample)
    tol *= variance
    run = partial(lloyd, metric=metric, tol=tol)
    if metric == "cosine" and _is_rough(sample, variance):
        starts = starts[:1]
    elif warm:
        starts, n_done = _warmed(
            rows, sample, starts, metric=metric, max_iter=max_iter, processes=processes
        )
    elif len(sample) < len(rows):
        runs = processes.share(starts, partial(run, sample, max_iter=max_iter))
        one_step = partial(run, rows, max_iter=1)
        starts = _most_promising(runs, lambda ends: processes.share(ends, one_step))
    elif len(starts) > 1:
        runs = processes.share(starts, partial(run, rows, max_iter=max_iter))
        best = runs.best()
        starts, n_done = runs.centers[best : best + 1], runs.n_iter[best]
    # Rounding can stop the products early; this ends where the labels do.
    most = max(1, max_iter - n_done)
    to_end = partial(_refine_each, rows, metric=metric, max_iter=most, tol=tol)
    refined = processes.share(starts, partial(to_end, with_inertia=len(starts) > 1))
    best = refined.best()
    return refined.centers[best], min(n_done + refined.n_iter[best], max_iter)


def _warmed(
    rows: Tensor,
    sample: Tensor,
    starts: Tensor,
    *,
    metric: str,
    max_iter: int,
    processes: Processes,
) -> tuple[Tensor, int]:
    """The best start ``(1, k, d)`` near its minimum, and its iterations on all rows."""
    n_done = 0
    if len(starts) > 1:
        compare = partial(warm_up, sample, metric=metric, max_iter=max_iter)
        runs = processes.share(starts, compare)
        best = runs.best()
        starts = runs.centers[best : best + 1]
        n_done = runs.n_iter[best] if len(sample) == len(rows) else 0
    most = max(0, max_iter - 1 - n_done)
    go_on = partial(warm_up, rows, metric=metric, max_iter=most)
    runs = processes.share(starts, go_on)
    return runs.centers, n_done + runs.n_iter[0]


def _refine_each(
    rows: Tensor,
    starts: Tensor,
    *,
    metric: str,
    max_iter: int,
    tol: float,
    with_inertia: bool,
) -> Runs:
    """Each start run to convergence; the inertia is 0 where it is not asked for."""
    refined = [
        refine(rows, start, metric=metric, max_iter=max_iter, tol=tol)
        for start in starts
    ]
    centers = torch.stack([ends for ends, _ in refined])
    wide = accurate_dtype(rows.device)
    inertia = torch.zeros(len(starts), dtype=wide, device=rows.device)
    if with_inertia:
        for i, ends in enumerate(centers):
            labels, _ = nearest_center(rows, ends, metric=metric)
            inertia[i] = total_distance(rows, ends, labels)
    return Runs(centers, inertia, [n_iter for _, n_iter in refined])


def _most_promising(runs: Runs, rank: Callable[[Tensor], Runs]) -> Tensor:
    """The few best of the distinct centres found on a sample, ``(r, k, d)``.

    Args:
        runs: Runs on the sample.
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


def _is_rough(rows: Tensor, variance: float) -> bool:
    """Whether rows are so alike that products of them leave nothing but rounding.

    Restarts gain nothing then, and only :func:`refine` can end.
    """
    mean_square = float(torch.linalg.vector_norm(rows).square()) / rows.numel()
    return variance <= 64 * torch.finfo(rows.dtype).eps * mean_square


def _mean_variance(rows: Tensor) -> float:
    """Mean variance of a column, from differences: squares would cancel out."""
    mean = rows.mean(0)
    wide = accurate_dtype(rows.device)
    total = sum(
        (rows[part] - mean).square().sum(dtype=wide)
        for part in chunks(len(rows), rows.shape[1])
    )
    return float(total) / rows.numel()
