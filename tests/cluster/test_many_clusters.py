"""KMeans with so many clusters that it seeds, sums and converges another way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from torch.utils.flop_counter import FlopCounterMode

from hadis_lightly.cluster import KMeans
from hadis_lightly.cluster.lloyd.assign import LARGE_K, ROWS_PER_CLUSTER, cluster_sums
from hadis_lightly.cluster.lloyd.iterate import warm_up
from hadis_lightly.cluster.lloyd.seeding import kmeans_plusplus
from tests.cluster.generated import check_result, mixture
from tests.cluster.test_memory import LargestTensor

K, N = LARGE_K, LARGE_K * ROWS_PER_CLUSTER
both_metrics = pytest.mark.parametrize("metric", ["cosine", "euclidean"])


@both_metrics
def test_as_good_as_restarts_and_cheaper(metric: str) -> None:
    X = mixture(N, 16, 2 * K, spread=0.8)
    with FlopCounterMode(display=False) as flops:
        kmeans = KMeans(K, metric=metric, random_state=0).fit(X)  # type: ignore[arg-type]
    check_result(kmeans, X, K, metric)
    assert torch.equal(kmeans.predict(X), kmeans.labels_)
    # Before: ten restarts on all rows, and at least 340 products of n x d x K.
    assert kmeans.inertia_ <= 1.002 * {"cosine": 4037.8, "euclidean": 92569.0}[metric]
    assert flops.get_total_flops() <= 200 * 2 * X.numel() * K


@both_metrics
def test_fit_twice_is_equal(metric: str) -> None:
    X = mixture(N + 1, 4, K)
    kmeans = KMeans(K, metric=metric, subsample=N, random_state=1)  # type: ignore[arg-type]
    first, centers = kmeans.fit(X).labels_, kmeans.cluster_centers_
    kmeans.fit(X)
    assert torch.equal(first, kmeans.labels_)
    assert torch.equal(centers, kmeans.cluster_centers_)


@pytest.mark.parametrize("distinct", [K - 4, K])
@both_metrics
def test_few_distinct_rows(metric: str, distinct: int) -> None:
    """Batches of candidates hold equal rows here: no cluster stays empty for it."""
    X = mixture(distinct, 4, distinct).repeat(N // distinct + 1, 1)
    kmeans = KMeans(K, metric=metric, random_state=0)  # type: ignore[arg-type]
    if distinct < K:
        with pytest.warns(ConvergenceWarning, match=f"only {distinct} distinct rows"):
            kmeans.fit(X)
    else:
        kmeans.fit(X)
    check_result(kmeans, X, K, metric)
    assert len(kmeans.labels_.unique()) == distinct
    assert kmeans.inertia_ <= 1e-8


def test_a_warm_up_fills_empty_clusters_and_lowers_the_inertia() -> None:
    rows = F.normalize(mixture(1200, 6, 40), dim=1)
    starts = rows[:1].expand(1, K, -1)
    ends = warm_up(rows, starts, metric="cosine", max_iter=20)
    labels = (rows @ ends.centers[0].T).argmax(1)
    assert len(labels.unique()) > 0.9 * K
    none = warm_up(rows, starts, metric="cosine", max_iter=0)
    assert torch.equal(none.centers, starts) and none.n_iter == [0]


def test_tight_clusters_are_found_where_quick_products_see_nothing() -> None:
    """An inertia of 1e-6 of the squares: bfloat16 scores have three digits."""
    means = F.normalize(torch.randn(K, 8, generator=torch.Generator().manual_seed(0)))
    X = means.repeat(32, 1) + 1e-3 * mixture(N, 8, 9)
    kmeans = KMeans(K, random_state=0).fit(X)
    groups = kmeans.labels_.view(32, K)
    same = (groups == groups[0]).all(0)
    assert same.float().mean() > 0.97


def test_sums_are_those_of_one_hot_products() -> None:
    rows = mixture(5000, 5, 9)
    labels = torch.randint(K - 1, (5000,), generator=torch.Generator().manual_seed(0))
    at = torch.arange(0, 5000, 3)
    sums, counts = cluster_sums(rows, labels[at], K, at=at)
    one_hot = F.one_hot(labels[at], K).double()
    torch.testing.assert_close(sums, one_hot.T @ rows[at].double())
    assert torch.equal(counts, one_hot.sum(0))


def test_memory_does_not_grow_with_rows_times_clusters() -> None:
    X = mixture(30_000, 4, 50)
    with LargestTensor([X]) as largest:
        KMeans(K, subsample=N, max_iter=3, random_state=0).fit(X)
    assert largest.n_elements <= 1 << 21 < X.shape[0] * K


def test_seeds_are_distinct_and_restarts_are_few() -> None:
    """Also of rows so alike (1 - cosine = 0.004) that bfloat16 cannot tell them."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(N, 16, generator=generator)
    rows = F.normalize(torch.ones(16) + 0.09 * noise, dim=1)
    seeds = kmeans_plusplus(rows, K, 10, generator=generator)
    assert seeds.shape == (4, K, 16)
    assert all(len(start.unique(dim=0)) == K for start in seeds)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_duplicates_end_soon(metric: str, noise: float) -> None:
    """Their inertia is what rounding leaves, and may be below 0."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(K, 16, generator=generator).repeat(ROWS_PER_CLUSTER, 1)
    rows += noise * torch.randn(rows.shape, generator=generator)
    kmeans = KMeans(K, metric=metric, n_init=2, random_state=0).fit(rows)
    assert kmeans.n_iter_ < 30
