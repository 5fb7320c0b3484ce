"""How isolated each image is, and which images are like no others."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.cluster.lloyd.arrays import (
    as_rows,
    check_finite,
    directions,
    to_device,
)
from hadis_lightly.precision import accurate_dtype, full_precision

_CHUNK = 8192
#: Of the length of a row: rows that are closer show the same image.
SAME = 1e-2
# Principal components, and standard deviations above the median, chosen on images of
# CIFAR-10 with planted oddities: docs/results/oddities.md.
_MAX_COMPONENTS, _DEVIATIONS = 128, 3.0
# From the median to the upper quartile of a normal distribution.
_QUARTILE = 0.6745


@dataclass(frozen=True)
class OutlierDetector:
    """Tells images that are like no others of a set: "none of these".

    The isolation of an image is the mean distance to the nearest few of a small random
    sample of the set, averaged over several samples; distances are of the 128 leading
    principal components. Neighbours are sought in small samples [0], not in the whole
    set: there, a few odd images that resemble each other would hide each other. A kind
    is odd if only a few of its images are in a sample. The cost is ``n_draws *
    n_samples`` distances per image.

    The threshold needs no labels: it is the median of the set's isolations plus three
    standard deviations, estimated from the upper quartile. Of a normal distribution
    without outliers 0.13 % lie above it.

    Example:
        >>> angles = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.04, 2.0])
        >>> points = torch.stack([angles.cos(), angles.sin()], dim=1)
        >>> detector = OutlierDetector.fit(points, n_neighbors=2)
        >>> detector.predict(points).tolist()
        [False, False, False, False, False, True]

    - [0]: Sugiyama and Borgwardt, Rapid distance-based outlier detection via sampling,
      NeurIPS 2013
    """

    samples: Tensor
    """Points of the set, ``(n_draws, n_samples, m)``."""
    components: Tensor | None
    """Principal components ``(d, m)``; None for at most 128 dimensions."""
    n_neighbors: int
    """Neighbours whose distances are averaged."""
    threshold: float
    """Isolation above which a point is an outlier."""

    @classmethod
    def fit(
        cls,
        points: Tensor,
        *,
        n_neighbors: int = 5,
        n_samples: int = 32,
        n_draws: int = 20,
        random_state: int = 0,
    ) -> OutlierDetector:
        """Draws samples of a set, and finds the threshold.

        Args:
            points: Floating point ``(n, d)``, n >= 2, compared by Euclidean distance as
                they are; not normalised.
            n_neighbors: Number of neighbours whose distances are averaged.
            n_samples: Number of points in a sample.
            n_draws: Number of samples.
            random_state: Seed of the draws.

        Raises:
            ValueError: If there are fewer than two points, or one is not finite.
        """
        check_integer("n_neighbors", n_neighbors, least=1)
        check_integer("n_samples", n_samples, least=1)
        check_integer("n_draws", n_draws, least=1)
        parts = range(0, len(points), _CHUNK)
        if not all(points[i : i + _CHUNK].isfinite().all() for i in parts):
            raise ValueError("points must not have NaN or infinite values.")
        n = len(points)
        if n < 2:
            raise ValueError(f"points must have at least 2 rows, got {n}.")
        generator = np.random.default_rng(random_state)
        size = min(n_samples, n)
        draws = [generator.choice(n, size, replace=False) for _ in range(n_draws)]
        rows = torch.from_numpy(np.stack(draws)).to(points.device)
        components = _leading_components(points)
        samples = _projected(points[rows], components)
        detector = cls(samples.float(), components, n_neighbors, float("inf"))
        values = detector.isolation(points).cpu().numpy()
        median, upper = np.quantile(values, [0.5, 0.75])
        threshold = median + _DEVIATIONS * (upper - median) / _QUARTILE
        return replace(detector, threshold=float(threshold))

    @full_precision()
    def isolation(self, points: Tensor) -> Tensor:
        """Isolation of each of some points ``(n, d)``, float32 ``(n,)``, at least 0.

        A point of a sample that equals the given one does not count as its neighbour.
        """
        samples = self.samples.to(points.device, accurate_dtype(points.device))
        found = []
        for start in range(0, len(points), _CHUNK):
            rows = _projected(points[start : start + _CHUNK], self.components)
            same = SAME * torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            total = rows.new_zeros(len(rows))
            for sample in samples:
                total += _to_nearest(rows, sample, same, self.n_neighbors)
            found.append(total / len(samples))
        return torch.cat(found).float() if found else points.new_zeros(0).float()

    def predict(self, points: Tensor) -> Tensor:
        """Whether each of some points ``(n, d)`` is an outlier, bool ``(n,)``."""
        return self.isolation(points) > self.threshold

    def to(self, device: torch.device | str) -> OutlierDetector:
        """The same with its points on the device."""
        components = self.components
        return replace(
            self,
            samples=to_device(self.samples, device),
            components=None if components is None else to_device(components, device),
        )

    def state_dict(self) -> dict[str, Any]:
        """Tensor and numbers, for a checkpoint."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> OutlierDetector:
        """The detector that :meth:`state_dict` was called on."""
        return cls(**state)


def isolation(
    embeddings: Tensor | npt.ArrayLike,
    *,
    n_neighbors: int = 5,
    n_samples: int = 32,
    n_draws: int = 20,
    random_state: int = 0,
) -> Tensor:
    """Isolation of each embedding by its direction, see :class:`OutlierDetector`.

    Args:
        embeddings: ``(n, d)`` with at least two rows; normalised inside.
        n_neighbors: Number of neighbours whose distances are averaged.
        n_samples: Number of embeddings in a sample.
        n_draws: Number of samples.
        random_state: Seed of the draws.

    Returns:
        Euclidean distances between vectors of length one, 0 to 2, float32 ``(n,)``; of
        more than 128 dimensions, between their principal components.

    Raises:
        ValueError: If there are fewer than two embeddings, or one is not finite.
    """
    data = as_rows(embeddings, name="embeddings")
    check_finite(data, name="embeddings")
    if len(data) < 2:
        raise ValueError(f"embeddings must have at least 2 rows, got {len(data)}.")
    points = directions(data)
    return OutlierDetector.fit(
        points,
        n_neighbors=n_neighbors,
        n_samples=n_samples,
        n_draws=n_draws,
        random_state=random_state,
    ).isolation(points)


def _projected(points: Tensor, components: Tensor | None) -> Tensor:
    """Points ``(..., d)`` on components ``(d, m)``, ``(..., m)``, in float64."""
    wide = points.to(accurate_dtype(points.device))
    return wide if components is None else wide @ components.to(wide)


@full_precision()
def _leading_components(points: Tensor) -> Tensor | None:
    """Directions of the largest variance, unit vectors ``(d, m)``; None if all are."""
    d = points.shape[1]
    if d <= _MAX_COMPONENTS:
        return None
    dtype = accurate_dtype(points.device)
    mean = points.mean(dim=0, dtype=dtype)
    scatter = torch.zeros(d, d, dtype=dtype, device=points.device)
    for start in range(0, len(points), _CHUNK):
        centered = points[start : start + _CHUNK].to(dtype) - mean
        scatter += centered.T @ centered
    _, vectors = torch.linalg.eigh(scatter.cpu())
    components: Tensor = vectors[:, -_MAX_COMPONENTS:].float()
    return components.to(points.device)


def _to_nearest(rows: Tensor, sample: Tensor, same: Tensor, k: int) -> Tensor:
    """Mean distance of each row to its nearest in the sample, ``(n,)``."""
    squares = (rows**2).sum(dim=1, keepdim=True) + (sample**2).sum(dim=1)
    apart = (squares - 2 * rows @ sample.T).clamp_min_(0).sqrt_()
    apart.masked_fill_(apart <= same, torch.inf)
    nearest = apart.topk(min(k, len(sample)), dim=1, largest=False).values
    is_other = nearest.isfinite()
    total = nearest.masked_fill(~is_other, 0).sum(dim=1)
    return total / is_other.sum(dim=1).clamp_min(1)
