"""Random draws and first centres: k-means++ for all restarts at once."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.cluster.lloyd.assign import (
    QUICK_INERTIA,
    half_squared_norms,
    is_large,
    quick_dtype,
)
from hadis_lightly.precision import accurate_dtype

# Candidate distances held at one time, in elements: restarts are seeded in groups.
SEEDING_ELEMENTS = 1 << 24
# For many clusters: candidates per centre, and the maximum number of restarts. Twice as
# many candidates lower the inertia by 0.3 %, ten restarts by 0.2 %.
MANY_TRIALS, MOST_RESTARTS = 16, 4
# Centres chosen from one product, whose candidates follow one distribution: at most so
# many, and at most this share of the centres chosen before.
BATCH, BATCH_SHARE = 8, 1 / 32


def as_generator(random_state: Any) -> torch.Generator | None:
    """The generator that ``random_state`` stands for; None is torch's global one."""
    if random_state is None or isinstance(random_state, torch.Generator):
        return random_state
    if not isinstance(random_state, Integral):
        raise TypeError(
            "random_state must be None, an integer or a torch.Generator, got "
            f"{random_state!r}."
        )
    check_integer("random_state", random_state, least=0)
    # On the CPU whatever the device of the data, for the same draws everywhere.
    return torch.Generator().manual_seed(int(random_state))


def random_rows(
    n: int, size: int, *, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """``size`` distinct indices below ``n``."""
    source = torch.device("cpu") if generator is None else generator.device
    order = torch.randperm(n, generator=generator, device=source)
    return order[:size].to(device)


def kmeans_plusplus(
    rows: Tensor, n_clusters: int, n_init: int, *, generator: torch.Generator | None
) -> Tensor:
    """Greedy k-means++ (Arthur and Vassilvitskii, 2007) for every restart together.

    Of ``2 + log(k)`` rows drawn with probability proportional to their squared
    distance from the centres so far, the one that lowers the inertia most is kept. For
    many clusters there are ``MANY_TRIALS`` and at most ``MOST_RESTARTS``, and the
    candidates for several centres are drawn at a time.

    Args:
        rows: ``(n, d)``, prepared.
        n_clusters: Centres per restart.
        n_init: Restarts.
        generator: Source of randomness; None is torch's global one.

    Returns:
        Rows chosen as centres, ``(r, n_clusters, d)`` for the ``r`` restarts made.
    """
    many = is_large(len(rows), n_clusters)
    n_trials = MANY_TRIALS if many else 2 + int(math.log(n_clusters))
    n_init = min(n_init, MOST_RESTARTS) if many else n_init
    source = torch.device("cpu") if generator is None else generator.device
    uniform = torch.rand(
        (n_clusters, n_init, n_trials),
        generator=generator,
        device=source,
        dtype=torch.float64,
    )
    uniform = uniform.to(accurate_dtype(rows.device)).to(rows.device)
    if many:
        quick = quick_dtype(rows)
        restarts = uniform.unbind(1)
        return torch.stack([rows[_seed_many(rows, part, quick)] for part in restarts])
    group = max(1, SEEDING_ELEMENTS // (n_trials * len(rows)))
    chosen = [_seed(rows, part) for part in torch.split(uniform, group, dim=1)]
    return rows[torch.cat(chosen)]


def _seed(rows: Tensor, uniform: Tensor) -> Tensor:
    """Indices ``(r, k)`` of chosen rows, from uniform numbers ``(k, r, trials)``."""
    n = len(rows)
    n_clusters, r, n_trials = uniform.shape
    squares = rows.square().sum(1)
    # What rounding leaves of the distance between a row and itself.
    noise = 8 * torch.finfo(rows.dtype).eps * squares
    first = (uniform[0, :, 0] * n).long().clamp_max(n - 1)  # (r,)
    # Written in place: small results kept between large temporary ones would split the
    # heap, which then grows with every centre.
    chosen = first.new_empty(r, n_clusters)
    chosen[:, 0] = first
    restart = torch.arange(r, device=rows.device)
    nearest = _distances(rows, squares, noise, first)  # (r, n)
    for k in range(1, n_clusters):
        mass = nearest.cumsum(1, dtype=uniform.dtype)  # (r, n)
        at = uniform[k] * mass[:, -1:]
        trials = torch.searchsorted(mass, at, right=True).clamp_max(n - 1)
        reduced = _distances(rows, squares, noise, trials.flatten()).view(
            r, n_trials, n
        )
        torch.minimum(reduced, nearest.unsqueeze(1), out=reduced)
        best = reduced.sum(2).argmin(1)  # (r,)
        nearest = reduced[restart, best]
        chosen[:, k] = trials[restart, best]
    return chosen


def _distances(rows: Tensor, squares: Tensor, noise: Tensor, at: Tensor) -> Tensor:
    """Squared distances ``(c, n)`` of all rows from the rows ``at`` ``(c,)``."""
    distances = torch.addmm(squares, rows[at], rows.T, alpha=-2)
    distances += squares[at].unsqueeze(1)
    return distances.masked_fill_(distances <= noise, 0)


def _seed_many(rows: Tensor, uniform: Tensor, dtype: torch.dtype) -> Tensor:
    """Indices ``(k,)`` of chosen rows, from uniform numbers ``(k, trials)``.

    Products are made in ``dtype``, or again in that of the rows if distances get too
    small for it.
    """
    n = len(rows)
    n_clusters, n_trials = uniform.shape
    most = max(1, min(BATCH, SEEDING_ELEMENTS // (n_trials * n)))
    squares = rows.square().sum(1)
    exact = dtype == rows.dtype
    noise = (8 if exact else 2) * torch.finfo(dtype).eps * squares
    columns = rows.to(dtype).T
    chosen = torch.empty(n_clusters, dtype=torch.long, device=rows.device)
    chosen[0] = (uniform[0, 0] * n).long().clamp_max(n - 1)
    best = _scores(rows, columns, chosen[:1])[0]  # (n,)
    done = 1
    while done < n_clusters:
        batch = min(most, max(1, int(done * BATCH_SHARE)), n_clusters - done)
        nearest = squares - 2 * best
        mass = nearest.masked_fill_(nearest <= noise, 0).cumsum(0, dtype=uniform.dtype)
        if not exact and bool(mass[-1] < QUICK_INERTIA * squares.sum()):
            return _seed_many(rows, uniform, rows.dtype)
        at = uniform[done : done + batch] * mass[-1]
        trials = torch.searchsorted(mass, at, right=True).clamp_max(n - 1)
        scores = _scores(rows, columns, trials.flatten()).view(batch, n_trials, n)
        for own, score in zip(trials, scores, strict=True):
            torch.maximum(score, best, out=score)
            winner = score.sum(1).argmax()
            best = score[winner].clone()
            chosen[done] = own[winner]
            done += 1
    return chosen


def _scores(rows: Tensor, columns: Tensor, at: Tensor) -> Tensor:
    """Scores ``(c, n)`` of all rows for the rows ``at`` ``(c,)`` as centres.

    ``columns`` ``(d, n)`` are the rows in the dtype of the product.
    """
    half = half_squared_norms(rows[at], metric="euclidean").unsqueeze(1)
    return (rows[at].to(columns.dtype) @ columns).to(rows.dtype) - half
