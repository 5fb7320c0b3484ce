"""K-means in torch, on any device, with scikit-learn's interface."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from torch import Tensor

from hadis_lightly.checks import check_bool, check_integer, check_number
from hadis_lightly.cluster.lloyd.arrays import (
    as_rows,
    check_columns,
    check_finite,
    column_means,
    unit_rows,
)
from hadis_lightly.cluster.lloyd.assign import (
    is_large,
    nearest_center,
    total_distance,
)
from hadis_lightly.cluster.lloyd.empty import settle
from hadis_lightly.cluster.lloyd.restarts import Processes
from hadis_lightly.cluster.lloyd.search import best_centers
from hadis_lightly.cluster.lloyd.seeding import (
    as_generator,
    kmeans_plusplus,
    random_rows,
)
from hadis_lightly.precision import full_precision

METRICS = ("cosine", "euclidean")
INITS = ("k-means++", "random")


class KMeans(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    r"""K-means whose restarts advance together in one matrix product.

    .. math:: \min_{c, a} \sum_i |x_i - c_{a_i}|^2

    With ``metric="cosine"`` rows and centres have length one (spherical k-means), and
    the same sum is :math:`2 \sum_i (1 - \cos(x_i, c_{a_i}))`. Rows of length zero have
    no direction and are refused.

    Large data are searched on a random subsample: all restarts run to convergence
    there, then the best distinct ones on all rows. That is several times faster, but
    among many close local minima (K = 100) it may miss the best by a thousandth of the
    inertia; ``subsample=None`` avoids it.

    From 256 clusters on, with 32 rows per cluster or more, k-means++ takes more
    candidates per centre and makes at most four restarts, of which only the best runs
    to convergence after a warm-up of all. Of spread-out rows restarts then differ by
    few thousandths of the inertia; of more tight groups than clusters by a few
    hundredths, and ten converged restarts may find a better one. Seeding and warm-up
    use bfloat16 products on CPUs with native bfloat16. Convergence, labels, centres and
    inertia are computed in float32.

    Args:
        n_clusters: Number of clusters, at least 1.
        metric: ``"cosine"`` or ``"euclidean"``.
        init: ``"k-means++"`` (greedy), ``"random"`` (rows), or an array ``(k, d)`` of
            centres: a single restart then, whatever ``n_init``.
        n_init: Restarts; the one of lowest inertia is kept. At most four with
            ``"k-means++"`` and many clusters.
        max_iter: Maximum number of iterations of a restart.
        tol: A restart has converged when the squared moves of its centres sum to at
            most ``tol`` times the mean variance of a (normalised) column.
        random_state: None (torch's global generator), an int >= 0, or a
            ``torch.Generator``, which advances. An int gives the same clusters at every
            fit on the same device, and the same draws on all devices.
        subsample: Number of rows on which the restarts are searched: ``"auto"`` takes
            ``max(8192, 256 * n_clusters)`` if there are at least twice as many rows
            (``100 * n_clusters`` for many clusters), None takes all.
        distributed: With several processes of torch.distributed, whether they share the
            restarts. ``X`` must be the same in all of them, and the result will be. The
            random state is that of process 0.

    Attributes:
        cluster_centers_: ``(k, d)``, of length one for cosine.
        labels_: ``(n,)`` int64, on the device of the data.
        inertia_: Sum of squared distances of the rows (of length one, for cosine) from
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
        distributed: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.metric = metric
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.subsample = subsample
        self.distributed = distributed

    def fit(self, X: Tensor | npt.ArrayLike, y: Any = None) -> KMeans:
        """Finds the clusters of the rows of ``X`` and returns the estimator.

        Args:
            X: ``(n, d)``, not modified; computed in float32 unless it is float64.
            y: Ignored, as in scikit-learn.

        Raises:
            ValueError: If a setting or ``X`` cannot be used; it names which.

        Warns:
            ConvergenceWarning: If ``X`` has fewer distinct rows than ``n_clusters``:
                the remaining clusters stay empty.
        """
        self._check_settings()
        data = as_rows(X)
        n, d = data.shape
        if self.n_clusters > n:
            raise ValueError(
                f"n_clusters must not exceed the number of rows of X, got "
                f"n_clusters={self.n_clusters} and {n} rows."
            )
        processes = Processes(self.distributed)
        with full_precision():
            check_finite(data, name="X")
            processes.check_same(
                data.device,
                rows=n,
                columns=d,
                n_clusters=self.n_clusters,
                n_init=self.n_init,
            )
            is_cosine = self.metric == "cosine"
            offset = data.new_zeros(d) if is_cosine else column_means(data)
            self._offset = processes.from_first(offset)
            rows = self._prepared(data, name="X")
            centers, n_iter = self._search(rows, processes)
            # Of the caller's rows and centres: centred ones are rounded once more.
            originals = rows if is_cosine else data
            centers, labels = settle(
                originals, rows, centers, offset=self._offset, metric=self.metric
            )
            inertia = total_distance(originals, centers, labels)
        self.cluster_centers_ = processes.from_first(centers)
        self.labels_ = processes.from_first(labels)
        self.inertia_ = float(processes.from_first(inertia))
        self.n_iter_, self.n_features_in_ = n_iter, d
        self._warn_of_empty()
        return self

    def predict(self, X: Tensor | npt.ArrayLike) -> Tensor:
        """Label ``(n,)`` of the nearest centre for each row of ``X``, on its device.

        Raises:
            NotFittedError: Before ``fit``.
            ValueError: If ``X`` cannot be used or has another number of columns.
        """
        if not hasattr(self, "cluster_centers_"):
            raise NotFittedError("KMeans is not fitted yet: call fit before predict.")
        data = as_rows(X)
        check_columns(data, self.n_features_in_, name="X")
        # In the wider of the two dtypes, so that centres keep their digits.
        data = data.to(torch.promote_types(data.dtype, self.cluster_centers_.dtype))
        with full_precision():
            check_finite(data, name="X")
            rows = self._prepared(data, name="X")
            centers = self.cluster_centers_.to(data) - self._offset.to(data)
            return nearest_center(rows, centers, metric=self.metric)[0]

    def _prepared(self, data: Tensor, *, name: str) -> Tensor:
        """Rows of length one (cosine) or away from the mean of the fit (euclidean)."""
        if self.metric == "cosine":
            return unit_rows(data, name=name)
        return data - self._offset.to(data)

    def _check_settings(self) -> None:
        check_integer("n_clusters", self.n_clusters, least=1)
        check_integer("n_init", self.n_init, least=1)
        check_integer("max_iter", self.max_iter, least=1)
        check_number("tol", self.tol, 0)
        check_bool("distributed", self.distributed)
        if self.subsample not in ("auto", None):
            check_integer("subsample", self.subsample, least=self.n_clusters)
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {METRICS}, got {self.metric!r}.")
        if isinstance(self.init, str) and self.init not in INITS:
            raise ValueError(
                f"init must be one of {INITS} or an array of centres, got "
                f"{self.init!r}."
            )

    def _search(self, rows: Tensor, processes: Processes) -> tuple[Tensor, int]:
        """Best centres ``(k, d)`` of the prepared rows, and their iterations."""
        generator = as_generator(self.random_state)
        generator = processes.same_generator(generator, rows.device)
        sample = self._sample(rows, generator)
        return best_centers(
            rows,
            sample,
            self._starts(sample, generator),
            metric=self.metric,
            max_iter=self.max_iter,
            tol=float(self.tol),
            processes=processes,
            warm=isinstance(self.init, str) and is_large(len(sample), self.n_clusters),
        )

    def _sample(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """The rows on which restarts are searched: all of them, or some."""
        n = len(rows)
        per_cluster = 100 if is_large(n, self.n_clusters) else 256
        size = max(8192, per_cluster * self.n_clusters)
        if self.subsample != "auto":
            size = self.subsample or n
        elif n < 2 * size:
            size = n
        if not isinstance(self.init, str) or size >= n:
            return rows
        return rows[random_rows(n, size, generator=generator, device=rows.device)]

    def _starts(self, sample: Tensor, generator: torch.Generator | None) -> Tensor:
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
        init = as_rows(self.init, name="init").to(sample)
        if (shape := (k, sample.shape[1])) != init.shape:
            raise ValueError(
                f"init must have shape (n_clusters, d) = {shape}, got "
                f"{tuple(init.shape)}."
            )
        check_finite(init, name="init")
        return self._prepared(init, name="init").unsqueeze(0)

    def _warn_of_empty(self) -> None:
        found = int(torch.bincount(self.labels_).count_nonzero())
        if found < self.n_clusters:
            warnings.warn(
                f"X has only {found} distinct rows, fewer than "
                f"n_clusters={self.n_clusters}: the other clusters are empty.",
                ConvergenceWarning,
                stacklevel=3,
            )
