"""How isolated each embedding is: which images are like no others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.cluster.lloyd.arrays import as_rows, check_finite, directions
from hadis_lightly.precision import full_precision

_CHUNK = 65536


@full_precision()
def isolation(
    embeddings: Tensor | npt.ArrayLike,
    *,
    n_neighbors: int = 5,
    n_samples: int = 64,
    n_draws: int = 20,
    random_state: int = 0,
) -> Tensor:
    """Mean distance of each embedding to the nearest of a few drawn at random.

    Neighbours are sought in small samples [0], not in the whole set: there, a few odd
    images that resemble each other would hide each other. The cost is ``n_samples *
    n_draws`` distances per embedding.

    Args:
        embeddings: ``(n, d)`` with at least two rows; normalised inside.
        n_neighbors: Number of neighbours whose distances are averaged.
        n_samples: Number of embeddings in a sample.
        n_draws: Number of samples.
        random_state: Seed of the draws.

    Returns:
        Euclidean distances between vectors of length one, 0 to 2, float32 ``(n,)``.

    Raises:
        ValueError: If there are fewer than two embeddings, or one is not finite.

    Example:
        >>> angles = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.04, 2.0])
        >>> alone = isolation(torch.stack([angles.cos(), angles.sin()], dim=1))
        >>> int(alone.argmax())
        5

    - [0]: Sugiyama and Borgwardt, Rapid distance-based outlier detection via sampling,
      NeurIPS 2013
    """
    check_integer("n_neighbors", n_neighbors, least=1)
    check_integer("n_samples", n_samples, least=1)
    check_integer("n_draws", n_draws, least=1)
    data = as_rows(embeddings, name="embeddings")
    check_finite(data, name="embeddings")
    n = len(data)
    if n < 2:
        raise ValueError(f"embeddings must have at least 2 rows, got {n}.")
    rows = directions(data)
    generator = np.random.default_rng(random_state)
    total = torch.zeros(n, dtype=torch.float32, device=rows.device)
    for _ in range(n_draws):
        drawn = generator.choice(n, min(n_samples, n), replace=False)
        total += _nearest(rows, torch.from_numpy(drawn).to(rows.device), n_neighbors)
    return total / n_draws


def _nearest(rows: Tensor, drawn: Tensor, n_neighbors: int) -> Tensor:
    """Mean distance of each row to its nearest among those drawn, ``(n,)``."""
    sample = rows[drawn]
    k = min(n_neighbors, len(drawn) - 1)
    means = []
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        cosines = part @ sample.T
        ids = torch.arange(start, start + len(part), device=rows.device)
        # No row is its own neighbour.
        cosines.masked_fill_(ids.unsqueeze(1) == drawn, -2.0)
        nearest = cosines.topk(k, dim=1).values
        means.append((2 - 2 * nearest).clamp_min(0).sqrt().mean(dim=1).float())
    return torch.cat(means)
