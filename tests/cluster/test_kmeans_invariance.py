"""What does not change the clusters that k-means finds, on generated cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from tests.cluster.generated import (
    METRICS,
    SEEDS,
    cases,
    check_result,
    fitted,
    has_directions,
    normal,
)


@given(cases(), st.integers(-60, 60))
def test_scale_changes_nothing(case: tuple[Tensor, int], power: int) -> None:
    X, k = case
    scaled = X * 2.0**power
    # Denormal values lose digits, large ones are refused.
    assume(torch.equal(scaled / 2.0**power, X))
    assume(float(scaled.abs().max()) < torch.finfo(X.dtype).max ** 0.5 / 2**6)
    assume(float(X.abs().max()) == 0 or float(X[X != 0].abs().min()) > torch.finfo(
        X.dtype).tiny * 2**60)  # fmt: skip
    kmeans = fitted(X, k, metric="euclidean")
    again = fitted(scaled, k, metric="euclidean")
    assert torch.equal(again.labels_, kmeans.labels_)
    assert torch.equal(again.cluster_centers_, kmeans.cluster_centers_ * 2.0**power)
    assert again.inertia_ == kmeans.inertia_ * 4.0**power


@given(cases(), SEEDS)
def test_lengths_change_nothing_for_cosine(case: tuple[Tensor, int], seed: int) -> None:
    X, k = case
    assume(has_directions(X) and float(X[X != 0].abs().min()) > 1e-20)
    assume(float(X.abs().max()) < 1e15)
    powers = (4 * normal(len(X), 1, X.dtype, seed)).round().clamp(-9, 9)
    kmeans, again = fitted(X, k), fitted(X * 2.0**powers, k)
    assert torch.equal(again.labels_, kmeans.labels_)
    assert torch.equal(again.cluster_centers_, kmeans.cluster_centers_)
    assert again.inertia_ == kmeans.inertia_
    factors = normal(len(X), 1, X.dtype, seed).exp()
    first = fitted(X, k, init=X[:k], max_iter=1).inertia_
    other = fitted(X * factors, k, init=X[:k], max_iter=1).inertia_
    if k == 1:
        assert other == pytest.approx(first, rel=1e-4, abs=1e-5 * len(X))


@given(
    st.integers(12, 80), st.integers(1, 5), st.integers(1, 5), METRICS, SEEDS,
    st.floats(-1000, 1000),
)  # fmt: skip
def test_order_and_shift_of_the_rows_change_nothing(
    n: int, d: int, k: int, metric: str, seed: int, shift: float
) -> None:
    X = normal(n, d, torch.float64, seed)
    settings: dict[str, Any] = {"metric": metric, "tol": 0.0}
    kmeans = fitted(X, k, init=X[:k], **settings)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    again = fitted(X[order], k, init=X[:k], **settings)
    assert again.inertia_ == pytest.approx(kmeans.inertia_, rel=1e-9, abs=1e-20)
    assert torch.equal(again.labels_, kmeans.labels_[order])
    if metric == "euclidean":
        moved = fitted(X + shift, k, init=X[:k] + shift, **settings)
        assert moved.inertia_ == pytest.approx(kmeans.inertia_, rel=1e-9, abs=1e-20)
        assert torch.equal(moved.labels_, kmeans.labels_)


LAYOUTS = {
    "columns first": lambda X: X.T.contiguous().T,
    "every other": lambda X: torch.stack([X, -X], 2).repeat(2, 1, 1)[: len(X), :, 0],
    "in the middle": lambda X: F.pad(X, (1, 2, 3, 1))[3:-1, 1:-2],
    "needs gradients": lambda X: X.clone().requires_grad_(),
    "backwards": lambda X: X.numpy()[::-1].copy()[::-1],
    "fortran": lambda X: np.asfortranarray(X.numpy()),
    "foreign bytes": lambda X: X.numpy().astype(X.numpy().dtype.newbyteorder()),
    "nested lists": lambda X: X.double().tolist(),
}


@given(cases(), METRICS, st.sampled_from(sorted(LAYOUTS)))
def test_layouts_change_nothing(
    case: tuple[Tensor, int], metric: str, layout: str
) -> None:
    X, k = case
    assume(metric == "euclidean" or has_directions(X))
    if layout == "nested lists":
        X = X.double()
    kmeans, again = (fitted(Y, k, metric=metric) for Y in (X, LAYOUTS[layout](X)))
    assert torch.equal(again.labels_, kmeans.labels_)
    assert again.cluster_centers_.dtype == X.dtype
    assert torch.equal(again.predict(LAYOUTS[layout](X)), kmeans.labels_)


@given(
    cases(), METRICS,
    st.sampled_from([torch.float16, torch.bfloat16, torch.int32, torch.uint8]),
)  # fmt: skip
def test_other_dtypes_are_computed_in_float32(
    case: tuple[Tensor, int], metric: str, dtype: torch.dtype
) -> None:
    X = (case[0].double() * 4).clamp(-60_000, 60_000)
    X = X.clamp(0, 255).to(dtype) if dtype == torch.uint8 else X.to(dtype)
    assume(metric == "euclidean" or has_directions(X))
    kmeans = fitted(X, case[1], metric=metric)
    assert kmeans.cluster_centers_.dtype == torch.float32
    check_result(kmeans, X.float(), case[1], metric)
    assert torch.equal(kmeans.predict(X), kmeans.labels_)
