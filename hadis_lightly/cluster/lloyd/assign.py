r"""Nearest centres, and sums over clusters.

Rows are prepared: of length one for the cosine metric, centred for the euclidean one.
Both metrics then want the centre of the largest *score*,

.. math:: s(x, c) = x \cdot c - \tfrac{1}{2} |c|^2,

since :math:`|x - c|^2 = |x|^2 - 2 s(x, c)`: one matrix product for all centres.
Sums over rows are products with one-hot matrices, which, unlike ``index_add_`` on a
GPU, always give the same bits. With many clusters on a CPU they are ``index_add_``,
which is ten times faster there.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hadis_lightly.precision import accurate_dtype, has_native_bfloat16

# Scores held at one time. Small enough to stay in a CPU's cache, large enough to
# keep the matrix product efficient.
CHUNK_ELEMENTS = 1 << 21
# From this number of clusters on, restarts gain little, given enough rows per cluster.
LARGE_K, ROWS_PER_CLUSTER = 256, 32
# Below this share of the sum of squares, scores in bfloat16 leave too few digits.
QUICK_INERTIA = 1 / 16


def chunks(n: int, width: int) -> Iterator[slice]:
    """Slices of ``range(n)`` so that ``rows * width`` elements fit the budget."""
    step = max(256, CHUNK_ELEMENTS // width)
    return (slice(start, start + step) for start in range(0, n, step))


def is_large(n_rows: int, n_clusters: int) -> bool:
    """Whether time is better spent on one good start than on restarts."""
    return n_clusters >= LARGE_K and n_rows >= ROWS_PER_CLUSTER * n_clusters


def quick_dtype(rows: Tensor) -> torch.dtype:
    """Dtype of products that need not be exact: bfloat16 where a CPU computes in it."""
    if rows.device.type != "cpu" or rows.dtype != torch.float32:
        return rows.dtype
    return torch.bfloat16 if has_native_bfloat16() else rows.dtype


def half_squared_norms(centers: Tensor, *, metric: str) -> Tensor:
    """``|c|^2 / 2``; exactly one half for cosine, whose centres have length one."""
    half = centers.square().sum(-1) / 2
    return torch.full_like(half, 0.5) if metric == "cosine" else half


def own_distance(rows: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    """Squared distance ``(n,)`` of each row from the centre of its cluster."""
    # Not a list of chunks: small results kept between large temporary ones would split
    # the heap, which then grows by as much as all rows take.
    distance = rows.new_empty(len(rows))
    for part in chunks(len(rows), rows.shape[1]):
        distance[part] = (rows[part] - centers[labels[part]]).square().sum(1)
    return distance


def total_distance(rows: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    """Sum of :func:`own_distance`, a scalar of the widest dtype."""
    distance = own_distance(rows, centers, labels)
    return distance.sum(dtype=accurate_dtype(rows.device))


def nearest_center(
    rows: Tensor, centers: Tensor, *, metric: str
) -> tuple[Tensor, Tensor]:
    """Nearest centre of each row and by how much its score leads the second best.

    Rows whose two best scores differ by no more than rounding are decided by distances
    computed from differences, in float64. A true tie goes to the lower label, and a
    centre that equals a row gets this row.

    Args:
        rows: ``(n, d)``.
        centers: ``(k, d)``.
        metric: ``"cosine"`` or ``"euclidean"``.

    Returns:
        Labels ``(n,)`` and leads ``(n,)``: rough, and infinite for a single centre.
    """
    labels = torch.empty(len(rows), dtype=torch.long, device=rows.device)
    lead = rows.new_empty(len(rows))
    offsets = half_squared_norms(centers, metric=metric).neg()
    for part in chunks(len(rows), len(centers)):
        scores = torch.addmm(offsets, rows[part], centers.T)
        best, labels[part] = scores.max(1)
        scores.scatter_(1, labels[part].unsqueeze(1), -torch.inf)
        lead[part] = best - scores.amax(1)
    reach = centers.square().sum(1).amax().sqrt()
    size = torch.linalg.vector_norm(rows, dim=1).clamp_min(reach)
    rounding = 32 * torch.finfo(rows.dtype).eps * size * reach
    unsure = (lead <= rounding).nonzero().flatten()
    wide = accurate_dtype(rows.device)
    for part in chunks(len(unsure), max(centers.shape)):
        distances = torch.cdist(
            rows[unsure[part]].to(wide),
            centers.to(wide),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        labels[unsure[part]] = distances.argmin(1)
    return labels, lead


def cluster_sums(
    rows: Tensor, labels: Tensor, n_clusters: int, *, at: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum and number of the rows of each cluster.

    Args:
        rows: ``(n, d)``.
        labels: ``(n,)``, or ``(m,)`` with ``at``.
        n_clusters: ``k``.
        at: Indices ``(m,)`` of the rows to sum; None means all.

    Returns:
        Sums ``(k, d)`` and counts ``(k,)`` in the widest dtype of the device, so that
        many iterations of adding and subtracting rows leave little trace.
    """
    wide = accurate_dtype(rows.device)
    sums = torch.zeros(n_clusters, rows.shape[1], dtype=wide, device=rows.device)
    counts = torch.zeros(n_clusters, dtype=wide, device=rows.device)
    for part in chunks(len(labels), max(n_clusters, rows.shape[1])):
        x = rows[part] if at is None else rows[at[part]]
        if n_clusters >= LARGE_K and rows.device.type == "cpu":
            sums.index_add_(0, labels[part], x.to(wide))
            counts += torch.bincount(labels[part], minlength=n_clusters)
            continue
        one_hot = x.new_zeros(n_clusters, len(x))
        one_hot.scatter_(0, labels[part].unsqueeze(0), 1)
        sums += one_hot @ x
        counts += one_hot.sum(1)
    return sums, counts


def to_centers(
    sums: Tensor, counts: Tensor, fallback: Tensor, *, metric: str
) -> Tensor:
    """Centres of clusters with these sums; ``fallback`` where there is no mean."""
    if metric == "cosine":
        lengths = torch.linalg.vector_norm(sums, dim=-1, keepdim=True)
        # Rows that cancel out leave a remainder of rounding, which is no direction.
        defined = lengths > 1e-6 * counts.unsqueeze(-1)
        means = sums / lengths.clamp_min(torch.finfo(sums.dtype).tiny)
    else:
        defined = counts.unsqueeze(-1) > 0
        means = sums / counts.unsqueeze(-1).clamp_min(1)
    return torch.where(defined, means.to(fallback.dtype), fallback)
