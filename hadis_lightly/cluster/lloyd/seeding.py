"""Random draws and first centres: k-means++ for all restarts at once."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.cluster.lloyd.assign import accurate_dtype

# Candidate distances held at one time, in elements: restarts are seeded in groups.
SEEDING_ELEMENTS = 1 << 24


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
    distance from the centres so far, the one that lowers the inertia most is kept.

    Args:
        rows: ``(n, d)``, prepared.
        n_clusters: Centres per restart.
        n_init: Restarts.
        generator: Source of randomness; None is torch's global one.

    Returns:
        Rows chosen as centres, ``(n_init, n_clusters, d)``.
    """
    n_trials = 2 + int(math.log(n_clusters))
    source = torch.device("cpu") if generator is None else generator.device
    uniform = torch.rand(
        (n_clusters, n_init, n_trials),
        generator=generator,
        device=source,
        dtype=torch.float64,
    )
    uniform = uniform.to(accurate_dtype(rows.device)).to(rows.device)
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
