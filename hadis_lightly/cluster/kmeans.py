"""K-means in torch, on any device, with scikit-learn's interface."""

from __future__ import annotations

import numbers
import warnings
from typing import Any, Literal

import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from torch import Tensor

from hadis_lightly.cluster.lloyd import (
    Runs,
    accurate_dtype,
    lloyd,
    most_promising,
    own_distance,
)
from hadis_lightly.cluster.prepare import (
    METRICS,
    as_generator,
    as_rows,
    check_finite,
    check_integer,
    prepare,
)
from hadis_lightly.cluster.refine import nearest_center, refine, settle
from hadis_lightly.cluster.seeding import kmeans_plusplus, random_rows
from hadis_lightly.precision import full_precision

INITS = ("k-means++", "random")


class KMeans(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    r"""K-means whose restarts advance together in one matrix product.

    .. math:: \min_{c, a} \sum_i |x_i - c_{a_i}|^2

    With ``metric="cosine"`` rows and centres have length one (spherical k-means), and
    the same sum is :math:`2 \sum_i (1 - \cos(x_i, c_{a_i}))`. Rows of length zero have
    no direction and are refused.

    Large data are searched on a random subsample: all restarts run to convergence
    there, and the best different ones are then run to convergence on all rows. That is
    several times faster, but may miss the best of many close local minima (K = 100)
    by a thousandth of the inertia; ``subsample=None`` avoids it.

    Args:
        n_clusters: Number of clusters, at least 1.
        metric: ``"cosine"`` or ``"euclidean"``.
        init: ``"k-means++"`` (greedy), ``"random"`` (rows), or an array ``(k, d)`` of
            centres to start from; there is one restart then, whatever ``n_init``.
        n_init: Restarts; the one of lowest inertia is kept.
        max_iter: Most iterations of a restart.
        tol: A restart has converged when the squared moves of its centres sum to at
            most ``tol`` times the mean variance of a (prepared) column.
        random_state: None (torch's global generator), an int, or a
            ``torch.Generator``, which advances. An int gives the same clusters at every
            fit on the same device, and the same draws on all devices.
        subsample: Rows on which the restarts are searched: ``"auto"`` takes
            ``max(8192, 256 * n_clusters)`` where there are at least twice as many rows
            as that, an int takes so many, None takes them all.
        chunk_size: Rows compared with the centres at one time; None chooses, which
            keeps the scores held at a time within a few megabytes.

    Attributes:
        cluster_centers_: ``(k, d)``, of length one for cosine.
        labels_: ``(n,)`` int64, on the device of the data.
        inertia_: Sum of squared distances of the rows (of length one, for cosine) to
            their centres.
        n_iter_: Iterations over all rows made by the restart that was kept.
        n_features_in_: ``d``.

    Example:
        >>> import torch
        >>> X = torch.tensor([[2.0, 0.1], [3.0, 0.0], [0.0, 1.0], [0.1, 5.0]])
        >>> kmeans = KMeans(n_clusters=2, random_state=0).fit(X)
        >>> bool(kmeans.labels_[0] == kmeans.labels_[1] != kmeans.labels_[2])
        True
    """

    def __init__(
        self,
        n_clusters: int,
        metric: Literal["cosine", "euclidean"] = "cosine",
        init: Literal["k-means++", "random"] | Tensor | npt.ArrayLike = "k-means++",
        n_init: int = 10,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int | torch.Generator | None = None,
        *,
        subsample: int | Literal["auto"] | None = "auto",
        chunk_size: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.metric = metric
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.subsample = subsample
        self.chunk_size = chunk_size

    def fit(self, X: Tensor | npt.ArrayLike, y: Any = None) -> KMeans:
        """Find the clusters of the rows of ``X``.

        Args:
            X: ``(n, d)``, kept as it is; computed in float32 unless it is float64.
            y: Ignored, as in scikit-learn.

        Returns:
            The estimator itself.

        Raises:
            ValueError: if a setting or ``X`` cannot be used; it names which.
            TypeError: if a setting or ``X`` has a wrong type.

        Warns:
            ConvergenceWarning: if ``X`` has fewer different rows than ``n_clusters``:
                the clusters left over stay empty, with centres on top of others.
        """
        self._check_settings()
        data = as_rows(X)
        if self.n_clusters > len(data):
            raise ValueError(
                f"n_clusters must not exceed the number of rows of X, got "
                f"n_clusters={self.n_clusters} and {len(data)} rows"
            )
        with full_precision():
            check_finite(data, name="X")
            self._offset = None
            if self.metric == "euclidean":
                # Distances between centred rows lose least to rounding.
                self._offset = data.mean(0)
            rows = prepare(data, metric=self.metric, offset=self._offset, name="X")
            centers, self.n_iter_ = self._search(data, rows)
            self._finish(data, rows, centers)
        return self

    def predict(self, X: Tensor | npt.ArrayLike) -> Tensor:
        """Label ``(n,)`` of the nearest centre for each row of ``X``, on its device.

        Raises:
            NotFittedError: before ``fit``.
            ValueError: if ``X`` cannot be used or has another number of columns.
        """
        if not hasattr(self, "cluster_centers_"):
            raise NotFittedError("KMeans is not fitted yet: call fit before predict")
        data = as_rows(X)
        if data.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must have the {self.n_features_in_} columns of the fit, got shape "
                f"{tuple(data.shape)}"
            )
        with full_precision():
            check_finite(data, name="X")
            centers = self.cluster_centers_.to(data)
            offset = None if self._offset is None else self._offset.to(data)
            labels, _ = nearest_center(
                prepare(data, metric=self.metric, offset=offset, name="X"),
                centers if offset is None else centers - offset,
                metric=self.metric,
                chunk_size=self.chunk_size,
            )
        return labels

    def fit_predict(self, X: Tensor | npt.ArrayLike, y: Any = None) -> Tensor:
        """Fit, and return ``labels_``."""
        return self.fit(X).labels_

    def _check_settings(self) -> None:
        check_integer("n_clusters", self.n_clusters, least=1)
        check_integer("n_init", self.n_init, least=1)
        check_integer("max_iter", self.max_iter, least=1)
        if self.chunk_size is not None:
            check_integer("chunk_size", self.chunk_size, least=1)
        if self.subsample is not None and self.subsample != "auto":
            check_integer("subsample", self.subsample, least=self.n_clusters)
        if not isinstance(self.tol, numbers.Real) or not 0 <= self.tol < float("inf"):
            raise ValueError(f"tol must be a number >= 0, got {self.tol!r}")
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {METRICS}, got {self.metric!r}")
        if isinstance(self.init, str) and self.init not in INITS:
            raise ValueError(
                f"init must be one of {INITS} or an array of centres, got {self.init!r}"
            )

    def _search(self, data: Tensor, rows: Tensor) -> tuple[Tensor, int]:
        """Best centres ``(k, d)`` of the prepared rows, and their iterations."""
        generator = as_generator(self.random_state)
        sample = self._sample(rows, generator)
        starts = self._starts(data, sample, generator)
        variance = sample.square().sum(1).mean() - sample.mean(0).square().sum()
        tol = self.tol * float(variance) / rows.shape[1]
        done = 0
        if len(starts) > 1 or len(sample) < len(rows):
            runs = self._lloyd(sample, starts, max_iter=self.max_iter, tol=tol)
            if len(sample) < len(rows):
                starts = most_promising(
                    rows, runs, metric=self.metric, chunk_size=self.chunk_size
                )
            else:
                best = int(runs.inertia.argmin())
                starts, done = runs.centers[best : best + 1], runs.n_iter[best]
        # Rounding can stop the products early; this ends where the labels do.
        refined = [
            refine(
                rows,
                start,
                metric=self.metric,
                max_iter=max(1, self.max_iter - done),
                tol=tol,
                chunk_size=self.chunk_size,
            )
            for start in starts
        ]
        best = 0
        if len(refined) > 1:
            ends = torch.stack([centers for centers, _ in refined])
            best = int(self._lloyd(rows, ends, max_iter=1, tol=tol).inertia.argmin())
        centers, n_iter = refined[best]
        return centers, min(done + n_iter, self.max_iter)

    def _lloyd(
        self, rows: Tensor, starts: Tensor, *, max_iter: int, tol: float
    ) -> Runs:
        return lloyd(
            rows,
            starts,
            metric=self.metric,
            max_iter=max_iter,
            tol=tol,
            chunk_size=self.chunk_size,
        )

    def _sample(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """The rows on which restarts are searched: all of them, or some."""
        n = len(rows)
        size = max(8192, 256 * self.n_clusters)
        if self.subsample != "auto":
            size = self.subsample or n
        elif n < 2 * size:
            size = n
        if not isinstance(self.init, str) or size >= n:
            return rows
        return rows[random_rows(n, size, generator=generator, device=rows.device)]

    def _starts(
        self, data: Tensor, sample: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Start of every restart, ``(r, k, d)``, prepared like the rows."""
        k = self.n_clusters
        if isinstance(self.init, str):
            if self.init == "k-means++":
                return kmeans_plusplus(sample, k, self.n_init, generator=generator)
            picks = [
                random_rows(len(sample), k, generator=generator, device=sample.device)
                for _ in range(self.n_init)
            ]
            return sample[torch.stack(picks)]
        init = as_rows(self.init, name="init").to(data)
        check_finite(init, name="init")
        if (shape := (k, data.shape[1])) != init.shape:
            raise ValueError(
                f"init must have shape (n_clusters, d) = {shape}, got "
                f"{tuple(init.shape)}"
            )
        init = prepare(init, metric=self.metric, offset=self._offset, name="init")
        return init.unsqueeze(0)

    def _finish(self, data: Tensor, rows: Tensor, centers: Tensor) -> None:
        centers, labels = settle(
            rows, centers, metric=self.metric, chunk_size=self.chunk_size
        )
        self.n_features_in_ = data.shape[1]
        self.cluster_centers_ = centers
        if self._offset is not None:
            self.cluster_centers_ = centers + self._offset
            # As predict sees them, rounded by the way out and in.
            centers = self.cluster_centers_ - self._offset
            labels, _ = nearest_center(
                rows, centers, metric=self.metric, chunk_size=self.chunk_size
            )
        self.labels_ = labels
        distance = own_distance(rows, centers, labels)
        self.inertia_ = float(distance.sum(dtype=accurate_dtype(rows.device)))
        found = int(torch.bincount(labels).count_nonzero())
        if found < self.n_clusters:
            warnings.warn(
                f"X has only {found} different rows to tell apart, fewer than "
                f"n_clusters={self.n_clusters}: the other clusters are empty",
                ConvergenceWarning,
                stacklevel=3,
            )
