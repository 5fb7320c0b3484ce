"""What k-means promises of any data, on generated cases."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from hadis_lightly.cluster import KMeans
from hadis_lightly.cluster.lloyd.arrays import column_means, unit_rows
from tests.cluster.generated import (
    DTYPES,
    METRICS,
    SEEDS,
    cases,
    check_result,
    fitted,
    has_directions,
    make,
)


@given(cases(), METRICS)
def test_any_data_end_in_a_right_result(case: tuple[Tensor, int], metric: str) -> None:
    X, k = case
    before = X.clone()
    if metric == "cosine" and not has_directions(X):
        with pytest.raises(ValueError, match=r"X has \d+ rows without a direction"):
            fitted(X, k, metric=metric)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kmeans = KMeans(k, metric=metric, n_init=2, random_state=0).fit(X)
    check_result(kmeans, X, k, metric)
    assert torch.equal(kmeans.predict(X), kmeans.labels_)
    assert torch.equal(X, before)
    # Clusters are empty only with a warning, and only if rows are equal.
    found = len(kmeans.labels_.unique())
    assert (found < k) == (len(caught) == 1)
    rows = unit_rows(X, name="X") if metric == "cosine" else X - column_means(X)
    size = float(rows.norm(dim=1).max() + (X - rows).norm(dim=1).max())
    apart = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    apart = apart[apart > 0]
    if len(apart) == 0 or apart.min() > 16 * torch.finfo(X.dtype).eps * size:
        assert found == min(k, len(torch.unique(rows, dim=0)))


@given(cases(), METRICS, st.data())
def test_inertia_never_rises(
    case: tuple[Tensor, int], metric: str, data: st.DataObject
) -> None:
    X, k = case
    assume(metric == "euclidean" or has_directions(X))
    at = data.draw(st.lists(st.integers(0, len(X) - 1), min_size=k, max_size=k))
    found = [
        fitted(X, k, metric=metric, init=X[at], max_iter=max_iter, tol=0).inertia_
        for max_iter in range(1, 7)
    ]
    size = 1.0 if metric == "cosine" else float(X.double().norm(dim=1).max())
    rounding = len(X) * (32 * torch.finfo(X.dtype).eps * size) ** 2
    eps = 16 * torch.finfo(X.dtype).eps
    for before, after in itertools.pairwise(found):
        assert after <= before * (1 + eps) + rounding, found


@given(cases(), st.integers(-10, 10), SEEDS)
def test_scale_changes_nothing(case: tuple[Tensor, int], power: int, seed: int) -> None:
    """Of all rows for euclidean, of each row for cosine; powers of 2 do not round."""
    X, k = case
    kmeans = fitted(X, k, metric="euclidean")
    again = fitted(X * 2.0**power, k, metric="euclidean")
    assert torch.equal(again.labels_, kmeans.labels_)
    assert torch.equal(again.cluster_centers_, kmeans.cluster_centers_ * 2.0**power)
    assert again.inertia_ == kmeans.inertia_ * 4.0**power
    assume(has_directions(X))
    generator = torch.Generator().manual_seed(seed)
    powers = torch.randint(-9, 10, (len(X), 1), generator=generator)
    kmeans, again = fitted(X, k), fitted(X * 2.0**powers, k)
    assert torch.equal(again.labels_, kmeans.labels_)
    assert torch.equal(again.cluster_centers_, kmeans.cluster_centers_)


def lead_of_lloyd(X: np.ndarray, centers: np.ndarray) -> float:
    """Least lead of a row over 40 plain iterations; 0 if a cluster runs empty."""
    lead = np.inf
    for _ in range(40):
        squares = ((X[:, None] - centers[None]) ** 2).sum(2)
        labels = squares.argmin(1)
        ordered = np.sort(squares, axis=1)
        lead = min(lead, float((ordered[:, 1] - ordered[:, 0]).min()))
        if len(np.unique(labels)) < len(centers):
            return 0.0
        centers = np.stack([X[labels == c].mean(0) for c in range(len(centers))])
    return lead


@given(
    st.integers(10, 200), st.integers(1, 6), st.integers(2, 8), DTYPES,
    st.sampled_from(["normal", "clusters", "far from the origin", "one row far away"]),
    st.sampled_from([1, 3, 300]), st.sampled_from([0.0, 1e-4, 1e-2]), SEEDS,
)  # fmt: skip
def test_equals_scikit_learn_from_the_same_start(
    n: int, d: int, k: int, dtype: torch.dtype, kind: str, max_iter: int, tol: float,
    seed: int,
) -> None:  # fmt: skip
    """Without ties and empty clusters, both walk the same way."""
    X = make(kind, n, d, dtype, seed)
    lead = lead_of_lloyd(X.double().numpy(), X[:k].double().numpy())
    assume(lead > 100 * torch.finfo(dtype).eps * float(X.abs().max()))
    ours = KMeans(k, "euclidean", init=X[:k], max_iter=max_iter, tol=tol).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = SklearnKMeans(
            k, init=X[:k].numpy(), n_init=1, algorithm="lloyd", max_iter=max_iter,
            tol=tol,
        ).fit(X.numpy())  # fmt: skip
    assert ours.labels_.tolist() == theirs.labels_.tolist()
    # Recomputed in float64: each rounds its own sum.
    own = theirs.cluster_centers_.astype(np.float64)[theirs.labels_]
    best = float(((X.double().numpy() - own) ** 2).sum())
    # Rows are rounded as they are centred, to the largest value.
    rounding = 4 * torch.finfo(dtype).eps * float(X.abs().max()) * (n * best) ** 0.5
    rel = 1e-6 if dtype == torch.float32 else 1e-9
    assert ours.inertia_ == pytest.approx(best, rel=rel, abs=rounding)
