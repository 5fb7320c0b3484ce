"""What speaks for a number of clusters: stable, well separated clusters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from hadis_lightly.cluster.kmeans import KMeans
from hadis_lightly.cluster.lloyd.arrays import directions
from hadis_lightly.cluster.lloyd.assign import chunks, half_squared_norms
from hadis_lightly.cluster.lloyd.seeding import random_rows
from hadis_lightly.cluster.whitening import Whitening
from hadis_lightly.precision import accurate_dtype

# Stable enough: so much of the highest stability, and so much overlap of the weakest
# cluster. Below, the score falls with both.
STABLE, OVERLAP = 0.85, 0.6
# Restarts that suffice for rows without clusters.
BLOB_INIT = 3
# Bins of a projection on the line through two centres, which lie at -1 and 1; counts
# are summed over three of them. The dip is sought between -0.3 and 0.3.
BINS, REACH, MIDDLE = 40, 2.0, 0.3
# A dip is at least so deep, relative to the lower of its two peaks.
LEAST_DIP = 0.1


@dataclass(frozen=True)
class NClustersSigns:
    """What was measured for one number of clusters."""

    n_clusters: int
    """Number of clusters k."""
    agreements: tuple[float, ...]
    """Adjusted Rand index between the clusters of two halves, for each repeat."""
    chance: float
    """The same for rows of one normal distribution with the same covariance."""
    weakest: float
    """Overlap (Jaccard index) of the least stable cluster of one half with the most
    similar cluster of the other; mean of the repeats. Below 0.5 it has dissolved."""
    silhouette: float
    """Mean over the images of ``(b - a) / b``, with half the squared distances a to
    the centre of their cluster and b to the next centre; in [0, 1]."""
    smallest: int
    """Number of images in the smallest cluster, of those looked at."""
    unseparated: float
    """Share of clusters without a dip of density on the line to their neighbour."""

    @property
    def agreement(self) -> float:
        """Mean adjusted Rand index between the clusters of two halves."""
        return float(np.mean(self.agreements))

    @property
    def stability(self) -> float:
        """Agreement beyond chance: 0 for one normal distribution, 1 at most."""
        return self.beyond_chance(self.agreement)

    def beyond_chance(self, agreement: float) -> float:
        """The stability that an agreement stands for, not below 0."""
        return max(0.0, (agreement - self.chance) / max(1 - self.chance, 1e-6))


def scores_of_curve(
    curve: Sequence[NClustersSigns], repeat: int | None = None
) -> dict[int, float]:
    """Silhouette of each number, reduced where clusters are not stable enough.

    Args:
        curve: The signs of each number, in ascending order.
        repeat: Use the agreement of this repeat alone, where it has been made.
    """
    stability = [
        signs.stability
        if repeat is None or repeat >= len(signs.agreements)
        else signs.beyond_chance(signs.agreements[repeat])
        for signs in curve
    ]
    most = max(max(stability), 1e-6)
    peak = curve[stability.index(max(stability))].n_clusters
    scores = {}
    for signs, stable in zip(curve, stability, strict=True):
        # Fewer clusters than at the peak would hide clusters that are more stable.
        enough = most if signs.n_clusters < peak else STABLE * most
        score = signs.silhouette * min(1.0, stable / enough)
        scores[signs.n_clusters] = score * min(1.0, signs.weakest / OVERLAP)
    return scores


class SignsOfRows:
    """Measures the signs of embeddings, for one number of clusters after another.

    Args:
        rows: Embeddings ``(n, d)`` of length one.
        whiten: Whether clusters are those of whitened rows, in place of the cosine.
        seed: Seed of all draws.
    """

    def __init__(self, rows: Tensor, *, whiten: bool, seed: int) -> None:
        self._seed = seed
        self._metric: str = "euclidean" if whiten else "cosine"
        blob = directions(_blob(rows, seed))
        if whiten:
            whitening = Whitening().fit(rows)
            rows, blob = whitening.transform(rows), whitening.transform(blob)
        self._rows, self._blob = rows, blob

    def measure(self, n_clusters: int, n_repeats: int, n_init: int) -> NClustersSigns:
        """The signs of one number of clusters, at most half that of the rows.

        Args:
            n_clusters: The number.
            n_repeats: Random divisions into two halves.
            n_init: Restarts of k-means.
        """
        with warnings.catch_warnings():
            # The clusters themselves are found elsewhere, with this warning.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self._measure(n_clusters, range(n_repeats), n_init)

    def _measure(self, k: int, repeats: range, n_init: int) -> NClustersSigns:
        blob_init = min(BLOB_INIT, n_init)
        halves = [_Halves(self, self._rows, k, n_init, i) for i in repeats]
        blob = [_Halves(self, self._blob, k, blob_init, i) for i in repeats]
        whole = self.fit(self._rows, k, n_init, 0)
        sizes = torch.bincount(whole.labels_, minlength=k)
        return NClustersSigns(
            n_clusters=k,
            agreements=tuple(_adjusted_rand(half.table) for half in halves),
            chance=float(np.mean([_adjusted_rand(half.table) for half in blob])),
            weakest=float(np.mean([_weakest(half.table) for half in halves])),
            silhouette=_silhouette(self._rows, whole.cluster_centers_),
            smallest=int(sizes.min()),
            unseparated=float(np.mean([half.unseparated() for half in halves])),
        )

    def fit(self, rows: Tensor, n_clusters: int, n_init: int, number: int) -> KMeans:
        """K-means; fits of one number of clusters differ by their own number."""
        return KMeans(
            n_clusters,
            metric=self._metric,  # type: ignore[arg-type]
            n_init=n_init,
            random_state=self._seed + number,
        ).fit(rows)


class _Halves:
    """Clusters of two random halves of the rows."""

    def __init__(
        self, signs: SignsOfRows, rows: Tensor, k: int, n_init: int, repeat: int
    ) -> None:
        n = len(rows)
        generator = torch.Generator().manual_seed(signs._seed + repeat)
        order = random_rows(n, n, generator=generator, device=rows.device)
        first, self._second = order[: n // 2], order[n // 2 :]
        self._rows = rows
        one = signs.fit(rows[first], k, n_init, 2 * repeat)
        two = signs.fit(rows[self._second], k, n_init, 2 * repeat + 1)
        self._labels, self._centers = one.predict(rows), one.cluster_centers_
        cells = self._labels * k + two.predict(rows)
        counts = torch.bincount(cells, minlength=k * k).reshape(k, k)
        #: Rows in each cluster of one half (down) and of the other (across), (k, k).
        self.table: NDArray[np.float64] = counts.double().cpu().numpy()

    def unseparated(self) -> float:
        """Share of clusters of the first half whose line to the neighbour has no dip.

        Density is that of the second half's rows, which the centres do not know: along
        the line through centres fitted to them, rows look separated without clusters.
        """
        k = len(self._centers)
        rows, labels = self._rows[self._second], self._labels[self._second]
        near = torch.zeros(k, k, dtype=torch.long, device=rows.device)
        for part in chunks(len(rows), k):
            scores = _scores(rows[part], self._centers)
            scores.scatter_(1, labels[part].unsqueeze(1), -torch.inf)
            cells = labels[part] * k + scores.argmax(1)
            near += torch.bincount(cells, minlength=k * k).reshape(k, k)
        neighbours = near.argmax(1).tolist()
        dips = [
            _has_dip(
                rows[(labels == i) | (labels == j)], self._centers[i], self._centers[j]
            )
            for i, j in enumerate(neighbours)
        ]
        return 1 - sum(dips) / k


def _blob(rows: Tensor, seed: int) -> Tensor:
    """Rows ``(n, d)`` of the normal distribution of the same mean and covariance."""
    wide = accurate_dtype(rows.device)
    mean = rows.mean(0, dtype=wide).cpu().double()
    products = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for part in chunks(len(rows), rows.shape[1]):
        centered = rows[part].cpu().double() - mean
        products += centered.T @ centered
    variances, vectors = torch.linalg.eigh(products / len(rows))
    # The symmetric root: eigenvectors may come with another sign elsewhere.
    root = (vectors * variances.clamp_min(0).sqrt()) @ vectors.T
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(rows.shape, generator=generator, dtype=torch.float32)
    blob: Tensor = (drawn @ root.float() + mean.float()).to(rows)
    return blob


def _adjusted_rand(table: NDArray[np.float64]) -> float:
    """Adjusted Rand index of two clusterings; 1 if both have one cluster only."""
    both, down, across, everything = (
        float((counts * (counts - 1) / 2).sum())
        for counts in (table, table.sum(0), table.sum(1), table.sum())
    )
    expected = down * across / everything
    best = (down + across) / 2
    return 1.0 if best == expected else (both - expected) / (best - expected)


def _weakest(table: NDArray[np.float64]) -> float:
    """Overlap of the least stable cluster, mean of both halves' least."""
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    overlaps = table / np.maximum(union, 1)
    return float((overlaps.max(0).min() + overlaps.max(1).min()) / 2)


def _scores(rows: Tensor, centers: Tensor) -> Tensor:
    """Half the squared length less half the squared distance, ``(n, k)``."""
    offsets = half_squared_norms(centers, metric="euclidean").neg()
    scores: Tensor = torch.addmm(offsets, rows, centers.T)
    return scores


def _silhouette(rows: Tensor, centers: Tensor) -> float:
    total = 0.0
    for part in chunks(len(rows), max(centers.shape)):
        half_squares = rows[part].square().sum(1, keepdim=True) / 2
        near = (half_squares - _scores(rows[part], centers)).topk(2, 1, largest=False)
        own, other = near.values.clamp_min(0).unbind(1)
        total += float((1 - own / other.clamp_min(1e-12)).sum())
    return total / len(rows)


def _has_dip(rows: Tensor, center: Tensor, other: Tensor) -> bool:
    """Whether density is lower between two centres than on both sides, clearly."""
    line = other - center
    along = (rows - (center + other) / 2) @ line * 2 / line.square().sum()
    along = along.clamp(-REACH, REACH).float().cpu()
    counts = torch.histc(along, BINS, -REACH, REACH).numpy()
    counts[[0, -1]] = 0  # what lies beyond
    sums = np.convolve(counts, np.ones(3), mode="same")
    width = 2 * REACH / BINS
    half, reach = BINS // 2, round(MIDDLE / width)
    at = half - reach + int(sums[half - reach : half + reach].argmin())
    lowest = float(sums[at])
    peak = min(float(sums[:at].max()), float(sums[at:].max()))
    noise = 2 * (peak + lowest) ** 0.5
    return bool(peak - lowest > max(LEAST_DIP * peak, noise))
