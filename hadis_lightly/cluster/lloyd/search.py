"""From the starts of all restarts to the centres of the best one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd.assign import (
    accurate_dtype,
    chunks,
    nearest_center,
    total_distance,
)
from hadis_lightly.cluster.lloyd.iterate import Runs, lloyd, most_promising
from hadis_lightly.cluster.lloyd.refine import refine
from hadis_lightly.cluster.lloyd.restarts import Processes


@dataclass(frozen=True)
class Search:
    """How restarts are run, and by whom.

    Attributes:
        metric: ``"cosine"`` or ``"euclidean"``.
        max_iter: Most iterations of a restart.
        tol: A restart ends when its centres moved by at most this times the mean
            variance of a column (squared, summed).
        chunk_size: Rows looked at together; None chooses.
        processes: The processes among which the restarts are shared.
    """

    metric: str
    max_iter: int
    tol: float
    chunk_size: int | None
    processes: Processes

    def best(self, rows: Tensor, sample: Tensor, starts: Tensor) -> tuple[Tensor, int]:
        """Runs all restarts on the sample and the promising ones on all rows.

        Args:
            rows: ``(n, d)``, prepared.
            sample: The rows on which restarts are searched, ``(m, d)``; as many as
                ``rows`` where these are all.
            starts: ``(r, k, d)``.

        Returns:
            Centres ``(k, d)`` of the run of lowest inertia and its iterations.
        """
        done = 0
        variance = mean_variance(sample)
        tol = self.tol * variance
        if self.metric == "cosine" and _is_rough(sample, variance):
            starts = starts[:1]
        elif len(sample) < len(rows):
            runs = self._lloyd(sample, starts, max_iter=self.max_iter, tol=tol)
            starts = most_promising(
                runs, lambda ends: self._lloyd(rows, ends, max_iter=1, tol=tol)
            )
        elif len(starts) > 1:
            runs = self._lloyd(rows, starts, max_iter=self.max_iter, tol=tol)
            best = runs.best()
            starts, done = runs.centers[best : best + 1], runs.n_iter[best]
        # Rounding can stop the products early; this ends where the labels do.
        max_iter = max(1, self.max_iter - done)
        refined = self._refine(rows, starts, max_iter=max_iter, tol=tol)
        best = refined.best()
        return refined.centers[best], min(done + refined.n_iter[best], self.max_iter)

    def _lloyd(
        self, rows: Tensor, starts: Tensor, *, max_iter: int, tol: float
    ) -> Runs:
        def run(some: Tensor) -> Runs:
            return lloyd(
                rows,
                some,
                metric=self.metric,
                max_iter=max_iter,
                tol=tol,
                chunk_size=self.chunk_size,
            )

        return self.processes.share(starts, run)

    def _refine(
        self, rows: Tensor, starts: Tensor, *, max_iter: int, tol: float
    ) -> Runs:
        """Each start run to convergence; with its inertia where there are several."""

        def run(some: Tensor) -> Runs:
            refined = [
                refine(
                    rows,
                    start,
                    metric=self.metric,
                    max_iter=max_iter,
                    tol=tol,
                    chunk_size=self.chunk_size,
                )
                for start in some
            ]
            centers = torch.stack([ends for ends, _ in refined])
            wide = accurate_dtype(rows.device)
            inertia = torch.zeros(len(some), dtype=wide, device=rows.device)
            if len(starts) > 1:
                for i, ends in enumerate(centers):
                    labels, _ = nearest_center(
                        rows, ends, metric=self.metric, chunk_size=self.chunk_size
                    )
                    inertia[i] = total_distance(rows, ends, labels)
            return Runs(centers, inertia, [n_iter for _, n_iter in refined])

        return self.processes.share(starts, run)


def _is_rough(rows: Tensor, variance: float) -> bool:
    """Whether rows are so alike that products of them leave nothing but rounding.

    There is nothing to be won by restarts then, and only :func:`refine` can end.
    """
    mean_square = float(torch.linalg.vector_norm(rows).square()) / rows.numel()
    return variance <= 64 * torch.finfo(rows.dtype).eps * mean_square


def mean_variance(rows: Tensor) -> float:
    """Mean variance of a column, from differences: squares would cancel out."""
    mean = rows.mean(0)
    parts = chunks(len(rows), rows.shape[1], None)
    wide = accurate_dtype(rows.device)
    total = sum((rows[part] - mean).square().sum(dtype=wide) for part in parts)
    return float(total) / rows.numel()
