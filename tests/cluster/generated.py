"""Rows of all kinds, and fits of them, for generated tests."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from hadis_lightly.cluster import KMeans

METRICS = st.sampled_from(["cosine", "euclidean"])
DTYPES = st.sampled_from([torch.float32, torch.float64])
SEEDS = st.integers(0, 2**32 - 1)
KINDS = (
    "normal",
    "clusters",
    "lattice",
    "few distinct rows",
    "constant columns",
    "last bits",
    "far from the origin",
    "large",
    "one row far away",
)


def normal(n: int, d: int, dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype)


def mixture(n: int, d: int, k: int, *, spread: float = 0.5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(k, d, generator=generator)
    component = torch.randint(k, (n,), generator=generator)
    return means[component] + spread * torch.randn(n, d, generator=generator)


def make(kind: str, n: int, d: int, dtype: torch.dtype, seed: int) -> Tensor:
    X = normal(n, d, dtype, seed)
    if kind == "clusters":
        return X + 6 * normal(5, d, dtype, seed + 1)[torch.arange(n) % 5]
    if kind == "lattice":
        return X.round()
    if kind == "few distinct rows":
        return X[torch.arange(n) % min(n, 3)]
    if kind == "constant columns":
        X[:, ::2] = 0.1
    if kind == "last bits":
        third = torch.full_like(X, 1 / 3)
        return torch.where(X > 0, third, third.nextafter(torch.ones_like(X)))
    if kind == "far from the origin":
        return X + 1000
    if kind == "large":
        return X * 1e8
    if kind == "one row far away":
        X[0] *= 1000
    return X


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Rows ``(n, d)`` and a number of clusters, up to all rows."""
    n, d = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    kind, dtype = draw(st.sampled_from(KINDS)), draw(DTYPES)
    k = draw(st.one_of(st.integers(1, min(n, 6)), st.just(n)))
    return make(kind, n, d, dtype, draw(SEEDS)), k


def fitted(X: Any, k: int, **settings: Any) -> KMeans:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(k, **{"random_state": 0, "n_init": 2, **settings}).fit(X)


def has_directions(X: Tensor) -> bool:
    return bool((X != 0).any(1).all())


def check_result(kmeans: KMeans, X: Tensor, k: int, metric: str) -> None:
    """Labels, centres and inertia fit each other and the rows, in float64."""
    labels, centers = kmeans.labels_, kmeans.cluster_centers_
    assert labels.dtype == torch.int64 and labels.shape == (len(X),)
    assert int(labels.min()) >= 0 and int(labels.max()) < k
    assert centers.shape == (k, X.shape[1]) and bool(centers.isfinite().all())
    assert math.isfinite(kmeans.inertia_) and kmeans.inertia_ >= 0
    size = 1.0 if metric == "cosine" else float(X.abs().max()) or 1.0
    rows = F.normalize(X.double(), dim=1) if metric == "cosine" else X.double() / size
    apart = torch.cdist(
        rows, centers.double() / size, compute_mode="donot_use_mm_for_euclid_dist"
    )
    mine = apart.gather(1, labels.unsqueeze(1))[:, 0]
    grain = 64 * torch.finfo(centers.dtype).eps
    assert bool((mine <= apart.amin(1) + grain).all()), (mine, apart)
    found, squares = kmeans.inertia_ / size / size, float(mine.square().sum())
    assert found == pytest.approx(squares, rel=1e-5, abs=len(X) * grain**2), found
