"""Rows to cluster, and the inertia of labels, for all k-means benchmarks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 16_384


def mixture(
    n: int, dim: int, components: int, spread: float, seed: int = 0, decay: float = 0.0
) -> Tensor:
    """Rows ``normalise(mean + spread * noise)`` around random means.

    Means have length one and noise is ``N(0, 1 / dim)`` in every column. With ``decay``
    column j of both is multiplied by ``j ** -decay``: a decaying spectrum, as
    embeddings of networks have. Drawn in chunks, so that the peak of memory is little
    more than the rows.
    """
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, dim + 1).float().pow(-decay)
    means = F.normalize(torch.randn(components, dim, generator=generator), dim=1)
    means *= scale
    rows = torch.empty(n, dim)
    for part in rows.split(CHUNK):
        torch.randn(part.shape, generator=generator, out=part)
        component = torch.randint(components, (len(part),), generator=generator)
        part.mul_(scale * spread / dim**0.5).add_(means[component])
        F.normalize(part, dim=1, out=part)
    return rows


def cosine_inertia(rows: Tensor, labels: Tensor, k: int) -> float:
    """Sum of squared distances to the normalised means of the clusters, in float64."""
    sums = torch.zeros(k, rows.shape[1], dtype=torch.float64)
    owners = labels.cpu().long().split(CHUNK)
    for part, own in zip(rows.split(CHUNK), owners, strict=True):
        sums.index_add_(0, own, part.double())
    return float(2 * len(rows) - 2 * torch.linalg.vector_norm(sums, dim=1).sum())
