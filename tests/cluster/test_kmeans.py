"""KMeans by hand, against scikit-learn, and its manners."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from torch import Tensor

from hadis_lightly.cluster import KMeans
from tests.cluster.generated import mixture

both_metrics = pytest.mark.parametrize("metric", ["cosine", "euclidean"])


def test_four_points_euclidean_by_hand() -> None:
    X = torch.tensor([[0.0, 0.0], [0.0, 2.0], [10.0, 0.0], [10.0, 4.0]])
    kmeans = KMeans(2, metric="euclidean", random_state=0).fit(X)
    a, b = kmeans.labels_[0], kmeans.labels_[2]
    assert kmeans.labels_.tolist() == [a, a, b, b]
    assert kmeans.cluster_centers_[a].tolist() == [0.0, 1.0]
    assert kmeans.cluster_centers_[b].tolist() == [10.0, 2.0]
    assert kmeans.inertia_ == pytest.approx(1 + 1 + 4 + 4)
    assert kmeans.n_iter_ >= 1


def test_four_points_cosine_by_hand() -> None:
    # Two pairs, each 90 degrees apart, of any length: centres on the bisectors.
    X = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0], [0, 0, 7.0]])
    kmeans = KMeans(2, random_state=0, init=X[[0, 2]]).fit(X)
    assert kmeans.labels_.tolist() == [0, 0, 1, 1]
    half = 0.5**0.5
    expected = torch.tensor([[half, half, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(kmeans.cluster_centers_, expected)
    assert kmeans.inertia_ == pytest.approx(2 * (1 - half) * 2, rel=1e-6)


def test_same_start_as_a_plain_loop_of_the_cosine() -> None:
    X = mixture(700, 8, 12, spread=1.0)
    rows = F.normalize(X.double(), dim=1)
    centers = rows[:12]
    for _ in range(300):
        labels = (rows @ centers.T).argmax(1)
        means = torch.stack([rows[labels == k].mean(0) for k in range(12)])
        centers = F.normalize(means, dim=1)
    ours = KMeans(12, init=X[:12], tol=0).fit(X)
    assert ours.labels_.tolist() == labels.tolist()
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(ours.cluster_centers_.double(), centers, **close)


def test_restarts_are_as_good_as_those_of_scikit_learn() -> None:
    X = mixture(1500, 10, 20, spread=1.0)
    ours = KMeans(20, metric="euclidean", random_state=0).fit(X)
    theirs = SklearnKMeans(20, n_init=10, random_state=0).fit(X.numpy())
    assert ours.inertia_ <= theirs.inertia_ * 1.005


def test_a_subsample_is_as_good_as_all_rows() -> None:
    X = mixture(20_000, 16, 10, spread=1.0)
    quick = KMeans(10, n_init=3, random_state=0).fit(X)
    whole = KMeans(10, n_init=3, random_state=0, subsample=None).fit(X)
    assert quick.inertia_ <= whole.inertia_ * (1 + 1e-4)


@both_metrics
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_fit_twice_is_equal_and_input_is_kept(metric: str, init: str) -> None:
    X = mixture(900, 6, 7, spread=1.0)
    before, state = X.clone(), torch.get_rng_state()
    kmeans = KMeans(7, metric=metric, init=init, random_state=3)
    first = kmeans.fit(X).labels_
    centers = kmeans.cluster_centers_
    kmeans.fit(X)
    assert torch.equal(first, kmeans.labels_)
    assert torch.equal(centers, kmeans.cluster_centers_)
    assert torch.equal(X, before)
    assert torch.equal(state, torch.get_rng_state())


def test_generator_and_global_seed_are_followed() -> None:
    X = mixture(300, 4, 6)
    results = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(5)
        torch.manual_seed(6)
        results.append(
            [
                KMeans(6, n_init=1, random_state=source).fit(X).labels_
                for source in (generator, generator, None, None)
            ]
        )
    for first, again in zip(*results, strict=True):
        assert torch.equal(first, again)
    with_generator, advanced, *_ = results[0]
    assert not torch.equal(with_generator, advanced)


@both_metrics
@pytest.mark.parametrize("max_iter", [1, 300])
def test_starts_that_coincide_leave_no_cluster_empty(
    metric: str, max_iter: int
) -> None:
    X = mixture(60, 4, 3, spread=0.2) + 1
    starts = X[:1].repeat(20, 1)
    before = starts.clone()
    kmeans = KMeans(20, metric=metric, init=starts, max_iter=max_iter).fit(X)
    assert torch.bincount(kmeans.labels_, minlength=20).min() >= 1
    assert torch.equal(starts, before)


@both_metrics
def test_fewer_distinct_rows_than_clusters_warns(metric: str) -> None:
    X = torch.eye(3).repeat(10, 1)
    with pytest.warns(ConvergenceWarning, match="only 3 distinct rows.*n_clusters=5"):
        kmeans = KMeans(5, metric=metric, random_state=0).fit(X)
    assert kmeans.inertia_ == pytest.approx(0, abs=1e-10)
    assert torch.equal(kmeans.predict(X), kmeans.labels_)
    assert bool(kmeans.cluster_centers_.isfinite().all())


def test_opposite_rows_have_no_mean_direction() -> None:
    kmeans = KMeans(1, random_state=0).fit(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert kmeans.cluster_centers_.norm() == pytest.approx(1)
    assert kmeans.inertia_ == pytest.approx(4)


def test_nearly_equal_rows_end_soon() -> None:
    # Spread 1e-6: float32 scores of unit rows are rounding alone.
    X = 1 + 1e-6 * mixture(300, 8, 4)
    kmeans = KMeans(4, random_state=0).fit(X)
    assert kmeans.n_iter_ < 100
    assert torch.equal(kmeans.predict(X), kmeans.labels_)
    assert torch.bincount(kmeans.labels_, minlength=4).min() >= 1


def test_centres_closer_than_float32_scores_can_tell() -> None:
    # Seen from the mean, the two right-hand groups are 1e-3 apart at distance 500.
    X = torch.tensor([[-1000.0, 0.0]] * 4 + [[0.0, 0.0]] * 2 + [[0.0, 1e-3]] * 2)
    kmeans = KMeans(3, metric="euclidean", random_state=0).fit(X)
    assert torch.bincount(kmeans.labels_).sort().values.tolist() == [2, 2, 4]
    assert kmeans.inertia_ == pytest.approx(0, abs=1e-9)


def test_rows_of_any_length_have_a_direction() -> None:
    X = torch.tensor([[1e-30, 0.0], [2e15, 0.0], [0.0, 1.0]])
    labels = KMeans(2, random_state=0).fit(X).labels_
    assert labels[0] == labels[1] != labels[2]


@pytest.mark.parametrize(
    "layout",
    [
        lambda X: X.T.contiguous().T,
        lambda X: X.clone().requires_grad_(),
        lambda X: X.numpy()[::-1].copy()[::-1],
        lambda X: X.numpy().astype(X.numpy().dtype.newbyteorder()),
        lambda X: np.frombuffer(X.numpy().tobytes(), np.float32).reshape(X.shape),
        lambda X: X.tolist(),
        lambda X: X.double().to(torch.bfloat16),
    ],
    ids=["columns first", "gradients", "backwards", "bytes", "frozen", "list", "half"],
)
def test_any_layout_is_welcome(layout: Any) -> None:
    X = mixture(200, 4, 3).bfloat16().float()
    expected = KMeans(3, random_state=0).fit(X)
    found = KMeans(3, random_state=0).fit(layout(X))
    assert torch.equal(found.labels_, expected.labels_)
    assert torch.equal(found.predict(layout(X)), expected.labels_)
    assert not found.cluster_centers_.requires_grad


def test_low_matmul_precision_and_autocast_do_not_reach_it() -> None:
    X = mixture(500, 32, 6, spread=1.0)
    expected = KMeans(6, random_state=0).fit(X).cluster_centers_
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = KMeans(6, random_state=0).fit(X).cluster_centers_
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(found, expected)


def test_speaks_scikit_learn() -> None:
    kmeans = KMeans(3, random_state=0, n_init=2)
    assert not [name for name in vars(kmeans) if name.endswith("_")]
    assert clone(kmeans).get_params() == kmeans.get_params()
    X = mixture(100, 4, 3)
    assert torch.equal(kmeans.fit_predict(X), kmeans.labels_)
    assert kmeans.fit(X) is kmeans
    assert kmeans.labels_.dtype == torch.int64
    assert kmeans.cluster_centers_.shape == (3, 4)


X_GOOD = torch.eye(6)


def with_value(value: float) -> Tensor:
    return X_GOOD.index_put((torch.tensor(4), torch.tensor(1)), torch.tensor(value))


@pytest.mark.parametrize(
    "X, settings, message",
    [
        (X_GOOD, {"n_clusters": 7}, "n_clusters=7 and 6 rows"),
        (X_GOOD, {"metric": "l1"}, "metric must be one of .*got 'l1'"),
        (X_GOOD, {"init": torch.eye(3)}, r"init must have shape .*\(2, 6\)"),
        (X_GOOD, {"tol": float("nan")}, "tol must be .*got nan"),
        (with_value(float("nan")), {}, "X contains NaN or infinite.* in 1 of 6.*row 4"),
        (with_value(1e30), {}, r"X holds values as large as 1e\+30"),
        (1e-30 * X_GOOD, {"metric": "euclidean"}, "X varies by .*: scale it up"),
        (0 * X_GOOD, {}, "X has 6 rows without a direction.*row 0"),
        (None, {}, "X must hold real numbers, got a NoneType"),
    ],
)
def test_wrong_input_is_named(X: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        KMeans(**{"n_clusters": 2, **settings}).fit(X)


def test_predict_checks_its_input() -> None:
    with pytest.raises(NotFittedError, match="call fit before predict"):
        KMeans(2).predict(X_GOOD)
    kmeans = KMeans(2, random_state=0).fit(X_GOOD)
    with pytest.raises(ValueError, match=r"6 columns.*\(2, 5\)"):
        kmeans.predict(torch.ones(2, 5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@both_metrics
def test_gpu_agrees_with_cpu(metric: str) -> None:
    X = mixture(20_000, 16, 10)
    cpu = KMeans(10, metric=metric, random_state=0).fit(X)
    gpu = KMeans(10, metric=metric, random_state=0).fit(X.cuda())
    assert gpu.labels_.is_cuda
    assert gpu.inertia_ == pytest.approx(cpu.inertia_, rel=1e-4)
    assert torch.equal(gpu.predict(X.cuda()), gpu.labels_)
    again = KMeans(10, metric=metric, random_state=0).fit(X.cuda())
    assert torch.equal(gpu.labels_, again.labels_)
