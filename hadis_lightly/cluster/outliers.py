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
        embeddings: ``(n, d)`` with at least two rows; normalised inside. The cosine of
            a row of zeros is taken as 0.
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
    generator = np.random.default_rng(random_state)
    draws = [
        torch.from_numpy(generator.choice(n, min(n_samples, n), replace=False))
        for _ in range(n_draws)
    ]
    draws = [drawn.to(data.device) for drawn in draws]
    samples = [directions(data[drawn]) for drawn in draws]
    total = torch.zeros(n, dtype=torch.float32, device=data.device)
    # Rows are normalised a part at a time: no second copy of all of them.
    for start in range(0, n, _CHUNK):
        rows = directions(data[start : start + _CHUNK])
        ids = torch.arange(start, start + len(rows), device=data.device)
        for drawn, sample in zip(draws, samples, strict=True):
            # No row is its own neighbour.
            is_own = ids.unsqueeze(1) == drawn
            total[start : start + _CHUNK] += _nearest(rows, sample, is_own, n_neighbors)
    return total / n_draws


def _nearest(
    rows: Tensor, sample: Tensor, left_out: Tensor, n_neighbors: int
) -> Tensor:
    """Mean distance of each row to its nearest in the sample, ``(n,)``."""
    cosines = (rows @ sample.T).masked_fill_(left_out, -2.0)
    k = min(n_neighbors, len(sample) - 1)
    nearest = cosines.topk(k, dim=1).values
    return (2 - 2 * nearest).clamp_min(0).sqrt().mean(dim=1).float()
