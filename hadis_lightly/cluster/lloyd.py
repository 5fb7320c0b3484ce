r"""Lloyd's algorithm on prepared rows: many restarts at once, or one with bounds.

Everything here works on rows that :mod:`hadis_lightly.cluster.kmeans` has prepared:
unit rows for the cosine metric, centred rows for the euclidean one. Both metrics then
ask for the largest *score* of a row ``x`` and a centre ``c``,

.. math:: s(x, c) = x \cdot c - \tfrac{1}{2} |c|^2,

since :math:`|x - c|^2 = |x|^2 - 2 s(x, c)`: one matrix product for all centres.
Sums over rows are products with one-hot matrices, which, unlike ``index_add_`` on a
GPU, always give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Scores held at one time. Small enough to stay in a CPU's cache, large enough to
# keep the matrix product efficient.
CHUNK_ELEMENTS = 1 << 21


# Restarts that a sample ranks nearly alike are compared on all rows, so many of them.
N_PROMISING = 2
# Centres from a sample that are this much worse on all rows will not catch up.
PROMISING_INERTIA = 1.005


class Runs(NamedTuple):
    """What several runs of k-means ended with.

    Attributes:
        centers: ``(r, k, d)``.
        inertia: ``(r,)``, of the last assignment.
        n_iter: Iterations made by each run.
    """

    centers: Tensor
    inertia: Tensor
    n_iter: list[int]


class _Totals(NamedTuple):
    """Sums over the rows assigned to each centre, and the sum of best scores."""

    sums: Tensor  # (r, k, d)
    counts: Tensor  # (r, k)
    score: Tensor  # (r,)


def accurate_dtype(device: torch.device) -> torch.dtype:
    """Widest floating dtype of the device: Apple's MPS has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def chunks(n: int, width: int, chunk_size: int | None) -> Iterator[slice]:
    """Slices of ``range(n)`` so that ``rows * width`` scores fit the budget."""
    step = chunk_size or max(256, CHUNK_ELEMENTS // width)
    return (slice(start, start + step) for start in range(0, n, step))


def half_squared_norms(centers: Tensor, *, metric: str) -> Tensor:
    """``|c|^2 / 2``; exactly one half for cosine, whose centres have length one."""
    half = centers.square().sum(-1) / 2
    return torch.full_like(half, 0.5) if metric == "cosine" else half


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
    found = centers.clone()
    inertia = torch.full_like(centers[:, 0, 0], torch.inf, dtype=squares.dtype)
    n_iter = [0] * len(centers)
    active = torch.arange(len(centers), device=rows.device)
    for iteration in range(1, max_iter + 1):
        current = found[active]
        totals = _totals(rows, current, metric=metric, chunk_size=chunk_size)
        updated = _means(rows, current, totals, metric=metric)
        found[active] = updated
        inertia[active] = squares - 2 * totals.score
        moving = (updated - current).square().sum((1, 2)) > tol
        for run in active.tolist():
            n_iter[run] = iteration
        active = active[moving]
        if len(active) == 0:
            break
    return Runs(found, inertia.clamp_min(0), n_iter)


def most_promising(
    rows: Tensor, runs: Runs, *, metric: str, chunk_size: int | None = None
) -> Tensor:
    """The few best of the different centres found on a sample, ``(r, k, d)``."""
    order = runs.inertia.argsort()
    inertia = runs.inertia[order]
    # Restarts that met in the same minimum agree up to rounding and tolerance.
    fresh = torch.ones_like(order, dtype=torch.bool)
    fresh[1:] = inertia.diff() > 1e-5 * inertia[:-1]
    centers = runs.centers[order[fresh]]
    if len(centers) > 1:
        ranked = lloyd(
            rows, centers, metric=metric, max_iter=1, tol=0.0, chunk_size=chunk_size
        )
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


def _means(rows: Tensor, centers: Tensor, totals: _Totals, *, metric: str) -> Tensor:
    """New centres ``(r, k, d)``; an empty cluster gets a row of its own."""
    sums, counts = totals.sums, totals.counts
    for run in (counts == 0).any(1).nonzero().flatten().tolist():
        labels = best_two(rows, centers[run], metric=metric)[0]
        fill_empty(rows, centers[run], labels, sums[run], counts[run])
    return to_centers(sums, counts, centers, metric=metric)


def to_centers(
    sums: Tensor, counts: Tensor, previous: Tensor, *, metric: str
) -> Tensor:
    """Centres of clusters with these sums; a cluster without a direction stays."""
    if metric == "cosine":
        lengths = torch.linalg.vector_norm(sums, dim=-1, keepdim=True)
        # Rows that cancel out leave a remainder of rounding, which is no direction.
        defined = lengths > 1e-6 * counts.unsqueeze(-1)
        means = sums / lengths.clamp_min(torch.finfo(sums.dtype).tiny)
    else:
        defined = counts.unsqueeze(-1) > 0
        means = sums / counts.unsqueeze(-1).clamp_min(1)
    return torch.where(defined, means.to(previous.dtype), previous)


def fill_empty(
    rows: Tensor, centers: Tensor, labels: Tensor, sums: Tensor, counts: Tensor
) -> bool:
    """Give every empty cluster of one run the row farthest from all centres.

    The row leaves its old cluster, so the inertia cannot rise. Where no row is away
    from its centre, the data have fewer distinct rows than there are clusters, and
    the cluster stays empty. ``labels``, ``sums`` and ``counts`` are changed in place.

    Returns:
        True if a cluster was filled.
    """
    distance = own_distance(rows, centers, labels)
    filled = False
    for empty in (counts == 0).nonzero().flatten().tolist():
        # The only row of a cluster must not leave it.
        movable = torch.where(counts[labels] > 1, distance, -1.0)
        farthest = int(movable.argmax())
        if movable[farthest] <= 0:
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
        filled = True
    return filled


def own_distance(rows: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    """Squared distance ``(n,)`` of each row from the centre it belongs to."""
    parts = chunks(len(rows), rows.shape[1], None)
    return torch.cat(
        [(rows[part] - centers[labels[part]]).square().sum(1) for part in parts]
    )


def best_two(
    rows: Tensor, centers: Tensor, *, metric: str, chunk_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Best centre of each row and by how much its score leads the second best.

    Args:
        rows: ``(n, d)``.
        centers: ``(k, d)``.
        metric: ``"cosine"`` or ``"euclidean"``.
        chunk_size: Rows looked at together; None chooses.

    Returns:
        Labels ``(n,)`` and leads ``(n,)``, infinite for a single centre.
    """
    labels = torch.empty(len(rows), dtype=torch.long, device=rows.device)
    lead = rows.new_empty(len(rows))
    offsets = half_squared_norms(centers, metric=metric).neg()
    for part in chunks(len(rows), len(centers), chunk_size):
        scores = torch.addmm(offsets, rows[part], centers.T)
        best, labels[part] = scores.max(1)
        scores.scatter_(1, labels[part].unsqueeze(1), -torch.inf)
        lead[part] = best - scores.amax(1)
    return labels, lead
