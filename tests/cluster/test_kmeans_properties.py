"""What k-means promises of any data, on generated cases."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hadis_lightly.cluster.lloyd.prepare import Frame
from hadis_lightly.cluster.lloyd.refine import refine
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from hadis_lightly.cluster import KMeans
from hadis_lightly.cluster.lloyd.assign import nearest_center, total_distance
from hadis_lightly.cluster.lloyd.iterate import lloyd
from tests.cluster.generated import (
    DTYPES,
    METRICS,
    SEEDS,
    cases,
    check_result,
    fitted,
    has_directions,
    made,
)


@given(cases(), METRICS)
def test_any_data_end_in_a_right_result(case: tuple[Tensor, int], metric: str) -> None:
    X, k = case
    before = X.clone()
    if metric == "cosine" and not has_directions(X):
        with pytest.raises(ValueError, match=r"X has \d+ rows of zero length"):
            fitted(X, k, metric=metric)
        return
    kmeans = fitted(X, k, metric=metric)
    check_result(kmeans, X, k, metric)
    assert torch.equal(kmeans.predict(X), kmeans.labels_)
    assert torch.equal(X, before)


@given(cases(), METRICS)
def test_clusters_are_empty_only_with_a_warning(
    case: tuple[Tensor, int], metric: str
) -> None:
    X, k = case
    assume(metric == "euclidean" or has_directions(X))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kmeans = KMeans(k, metric=metric, n_init=1, random_state=0).fit(X)
    found = len(kmeans.labels_.unique())
    assert (found < k) == (len(caught) == 1)
    frame = Frame.of(X, metric=metric)
    different = len(torch.unique(frame.prepare(X, name="X"), dim=0))
    assert found == min(k, different)


@st.composite
def with_start(draw: st.DrawFn) -> tuple[Tensor, Tensor, str]:
    """Prepared rows, a start that may coincide or lie far off, and the metric."""
    X, k = draw(cases())
    metric = draw(METRICS)
    assume(metric == "euclidean" or has_directions(X))
    frame = Frame.of(X, metric=metric)
    rows = frame.prepare(X, name="X")
    at = draw(st.lists(st.integers(0, len(X) - 1), min_size=k, max_size=k))
    start = rows[at].clone()
    if metric == "euclidean" and draw(st.booleans()):
        start[0] += 50
    return rows, start, metric


def exact(rows: Tensor, centers: Tensor, metric: str) -> float:
    labels, _ = nearest_center(rows, centers, metric=metric)
    return float(total_distance(rows, centers, labels))


def assert_falls(
    values: list[float], rows: Tensor, *, noise: float = 0.0, most: float = 0.0
) -> None:
    """Every value is at most the one before, to rounding and what is given."""
    eps = torch.finfo(rows.dtype).eps
    squares = float(rows.double().square().sum())
    for before, after in itertools.pairwise(values):
        bound = before * (1 + 16 * eps) + squares * ((16 * eps) ** 2 + noise) + most
        assert after <= bound, values


@given(with_start())
def test_inertia_never_rises_in_refine(case: tuple[Tensor, Tensor, str]) -> None:
    rows, start, metric = case
    inertia = [exact(rows, start, metric)]
    for max_iter in range(1, 9):
        ends, n_iter = refine(rows, start, metric=metric, max_iter=max_iter, tol=0)
        assert n_iter <= max_iter
        inertia.append(exact(rows, ends, metric))
    assert_falls(inertia, rows)


@given(with_start())
def test_inertia_never_rises_in_lloyd(case: tuple[Tensor, Tensor, str]) -> None:
    rows, start, metric = case
    starts = torch.stack([start, rows[-1:].expand_as(start)])
    inertia = [[exact(rows, one, metric)] for one in starts]
    for max_iter in range(1, 9):
        runs = lloyd(rows, starts, metric=metric, max_iter=max_iter, tol=0)
        for values, ends in zip(inertia, runs.centers, strict=True):
            values.append(exact(rows, ends, metric))
    # Scores, and with them labels and sums, are rounded here.
    for values in inertia:
        assert_falls(values, rows, noise=8 * torch.finfo(rows.dtype).eps)


@given(cases(), METRICS, st.data())
def test_inertia_never_rises_in_public(
    case: tuple[Tensor, int], metric: str, data: st.DataObject
) -> None:
    X, k = case
    assume(metric == "euclidean" or has_directions(X))
    at = data.draw(st.lists(st.integers(0, len(X) - 1), min_size=k, max_size=k))
    frame = Frame.of(X, metric=metric)
    rows = frame.prepare(X, name="X")
    found = []
    for max_iter in range(1, 7):
        kmeans = fitted(X, k, metric=metric, init=X[at], max_iter=max_iter, tol=0)
        # In the frame: the inertia of extreme values may vanish.
        own = X if metric == "euclidean" else rows
        centers, labels = kmeans.cluster_centers_, kmeans.labels_
        found.append(float(total_distance(own, centers, labels, scale=frame.scale)))
        if 1e-60 < frame.scale < 1e60:
            assert kmeans.inertia_ * frame.scale**2 == pytest.approx(found[-1])
    assert_falls(found, rows, most=16 * len(X) * frame.noise(rows) ** 2)


def lloyd_by_the_book(
    X: np.ndarray, centers: np.ndarray, max_iter: int
) -> tuple[bool, float]:
    """Whether a cluster ran empty, and the least lead of a row over its iterations."""
    lead = math.inf
    for _ in range(max_iter):
        squares = ((X[:, None] - centers[None]) ** 2).sum(2)
        labels = squares.argmin(1)
        ordered = np.sort(squares, axis=1)
        lead = min(lead, float((ordered[:, 1] - ordered[:, 0]).min()))
        if len(np.unique(labels)) < len(centers):
            return True, lead
        centers = np.stack([X[labels == c].mean(0) for c in range(len(centers))])
    return False, lead


@given(
    st.integers(10, 200), st.integers(1, 6), st.integers(2, 8), DTYPES,
    st.sampled_from(["normal", "clusters", "far from the origin", "one row far away"]),
    st.sampled_from([1, 3, 300]), st.sampled_from([0.0, 1e-4, 1e-2]), SEEDS,
)  # fmt: skip
def test_as_good_as_sklearn_from_the_same_start(
    n: int, d: int, k: int, dtype: torch.dtype, kind: str, max_iter: int, tol: float,
    seed: int,
) -> None:  # fmt: skip
    """Without ties and empty clusters, both walk the same way."""
    X = made(kind, n, d, dtype, seed)
    empty, lead = lloyd_by_the_book(X.double().numpy(), X[:k].double().numpy(), 40)
    assume(not empty and lead > 100 * torch.finfo(dtype).eps * float(X.abs().max()))
    settings: dict[str, Any] = {"max_iter": max_iter, "tol": tol}
    ours = KMeans(k, metric="euclidean", init=X[:k], **settings).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = SklearnKMeans(
            k, init=X[:k].numpy(), n_init=1, algorithm="lloyd", **settings
        ).fit(X.numpy())
    # Recomputed in float64: each rounds its own sum.
    squares = (
        X.double().numpy() - theirs.cluster_centers_.astype(np.float64)[theirs.labels_]
    ) ** 2
    rel = 1e-6 if dtype == torch.float32 else 1e-9
    best = float(squares.sum())
    # Rows are rounded as they are centred, to the largest value.
    rounding = 4 * torch.finfo(dtype).eps * float(X.abs().max()) * (n * best) ** 0.5
    assert ours.inertia_ <= best * (1 + rel) + rounding
    assert ours.labels_.tolist() == theirs.labels_.tolist()
