from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hadis_lightly.cluster.lloyd.refine import refine
from sklearn.base import clone
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from torch import Tensor

from hadis_lightly.cluster import KMeans
from hadis_lightly.cluster.lloyd.empty import farthest_rows, fill_empty
from hadis_lightly.cluster.lloyd.iterate import lloyd

METRICS = ("cosine", "euclidean")


def mixture(n: int, d: int, k: int, *, spread: float = 0.5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(k, d, generator=generator)
    component = torch.randint(k, (n,), generator=generator)
    return means[component] + spread * torch.randn(n, d, generator=generator)


def spherical_by_hand(X: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    rows = F.normalize(X.double(), dim=1)
    centers = F.normalize(starts.double(), dim=1)
    for _ in range(300):
        labels = (rows @ centers.T).argmax(1)
        centers = torch.stack(
            [F.normalize(rows[labels == k].mean(0), dim=0) for k in range(len(centers))]
        )
    return centers, labels


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
def test_same_start_as_sklearn_euclidean(dtype: torch.dtype, seed: int) -> None:
    X = mixture(700, 8, 12, spread=1.0, seed=seed).to(dtype) + 5
    ours = KMeans(12, metric="euclidean", init=X[:12], tol=0).fit(X)
    theirs = SklearnKMeans(12, init=X[:12].numpy(), n_init=1, tol=0).fit(X.numpy())
    assert ours.labels_.tolist() == theirs.labels_.tolist()
    np.testing.assert_allclose(
        ours.cluster_centers_.numpy(), theirs.cluster_centers_, rtol=1e-4, atol=1e-4
    )
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    assert ours.cluster_centers_.dtype == dtype


@pytest.mark.parametrize("seed", range(3))
def test_same_start_as_a_plain_loop_cosine(seed: int) -> None:
    X = mixture(700, 8, 12, spread=1.0, seed=seed)
    ours = KMeans(12, init=X[:12], tol=0).fit(X)
    centers, labels = spherical_by_hand(X, X[:12])
    assert ours.labels_.tolist() == labels.tolist()
    torch.testing.assert_close(
        ours.cluster_centers_.double(), centers, rtol=1e-4, atol=1e-5
    )


def test_cosine_agrees_with_sklearn_on_separated_unit_rows() -> None:
    X = F.normalize(mixture(600, 16, 5, spread=0.3), dim=1)
    starts = KMeans(5, random_state=0).fit(X).cluster_centers_ + 0.1
    ours = KMeans(5, init=starts).fit(X)
    theirs = SklearnKMeans(5, init=starts.numpy(), n_init=1).fit(X.numpy())
    assert ours.labels_.tolist() == theirs.labels_.tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_batched_and_bounded_lloyd_agree(metric: str) -> None:
    rows = mixture(3000, 6, 9, spread=1.5).double()
    rows = F.normalize(rows, dim=1) if metric == "cosine" else rows - rows.mean(0)
    starts = torch.stack([rows[:9], rows[9:18]])
    runs = lloyd(rows, starts, metric=metric, max_iter=300, tol=0)
    for start, centers in zip(starts, runs.centers, strict=True):
        bounded, _ = refine(rows, start, metric=metric, max_iter=300, tol=0)
        torch.testing.assert_close(bounded, centers)


@pytest.mark.parametrize("metric", METRICS)
def test_inertia_never_rises_and_labels_fit_centers(metric: str) -> None:
    X = mixture(2000, 5, 20, spread=1.5)
    last = float("inf")
    for max_iter in range(1, 25):
        kmeans = KMeans(20, metric=metric, init=X[:20], max_iter=max_iter, tol=0).fit(X)
        assert kmeans.inertia_ <= last * (1 + 1e-7)
        assert torch.equal(kmeans.predict(X), kmeans.labels_)
        assert kmeans.n_iter_ <= max_iter
        last = kmeans.inertia_


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("subsample", [None, 500])
def test_inertia_as_documented(metric: str, subsample: int | None) -> None:
    X = mixture(2000, 5, 4)
    kmeans = KMeans(4, metric=metric, random_state=1, subsample=subsample).fit(X)
    rows = F.normalize(X, dim=1) if metric == "cosine" else X
    own = kmeans.cluster_centers_[kmeans.labels_]
    assert kmeans.inertia_ == pytest.approx(
        float((rows - own).square().sum()), rel=1e-5
    )
    if metric == "cosine":
        cosine = F.cosine_similarity(X, own)
        assert kmeans.inertia_ == pytest.approx(float(2 * (1 - cosine).sum()), rel=1e-4)


@pytest.mark.parametrize("k, spread", [(8, 0.5), (8, 1.5), (40, 1.0)])
def test_as_good_as_sklearn(k: int, spread: float) -> None:
    ours, theirs = [], []
    for seed in range(3):
        X = mixture(2500, 10, k, spread=spread, seed=seed)
        own = KMeans(k, metric="euclidean", random_state=seed).fit(X)
        other = SklearnKMeans(k, n_init=10, random_state=seed).fit(X.numpy())
        ours.append(own.inertia_)
        theirs.append(other.inertia_)
    assert sum(ours) <= sum(theirs) * 1.005


@pytest.mark.parametrize("metric", METRICS)
def test_subsample_is_as_good_as_all_rows(metric: str) -> None:
    X = mixture(20_000, 16, 10, spread=1.0)
    quick = KMeans(10, metric=metric, random_state=0).fit(X)
    whole = KMeans(10, metric=metric, random_state=0, subsample=None).fit(X)
    assert quick.inertia_ <= whole.inertia_ * (1 + 1e-4)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_fit_twice_is_equal_and_input_is_kept(metric: str, init: str) -> None:
    X = mixture(900, 6, 7, spread=1.0)
    before = X.clone()
    kmeans = KMeans(7, metric=metric, init=init, random_state=3)
    first = kmeans.fit(X).labels_
    centers = kmeans.cluster_centers_
    kmeans.fit(X)
    assert torch.equal(first, kmeans.labels_)
    assert torch.equal(centers, kmeans.cluster_centers_)
    assert torch.equal(X, before)


def test_start_is_not_changed() -> None:
    X = mixture(100, 4, 5)
    for metric in METRICS:
        starts = torch.stack([X[0], X[0], X[0] * 100])
        before = starts.clone()
        KMeans(3, metric=metric, init=starts).fit(X)
        assert torch.equal(starts, before)


def test_generator_and_global_seed_are_followed() -> None:
    X = torch.rand(300, 4)
    results = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(5)
        results.append(KMeans(6, n_init=1, random_state=generator).fit(X).labels_)
    assert torch.equal(*results)
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(KMeans(6, n_init=1).fit(X).labels_)
    assert torch.equal(*results)


def test_an_int_leaves_the_global_generator_alone() -> None:
    X = torch.rand(20, 3)
    state = torch.get_rng_state()
    KMeans(2, random_state=0).fit(X)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_clusters", [2, 5, 20])
def test_starts_that_coincide_leave_no_cluster_empty(
    metric: str, n_clusters: int
) -> None:
    X = mixture(60, 4, 3, spread=0.2) + 1
    starts = X[:1].repeat(n_clusters, 1)
    kmeans = KMeans(n_clusters, metric=metric, init=starts).fit(X)
    assert torch.bincount(kmeans.labels_, minlength=n_clusters).min() >= 1
    kmeans = KMeans(n_clusters, metric=metric, init=starts, max_iter=1).fit(X)
    assert torch.bincount(kmeans.labels_, minlength=n_clusters).min() >= 1


def test_starts_that_coincide_end_better_than_sklearn_ends() -> None:
    """Each has a rule of its own for empty clusters; not every case is better."""
    ratios = []
    for seed in range(40):
        X = mixture(150, 3, 8, seed=seed).double()
        starts = X[[0, 0, 0, 1, 2, 3, 4, 5]]
        ours = KMeans(8, metric="euclidean", init=starts, tol=0).fit(X)
        theirs = SklearnKMeans(8, init=starts.numpy(), n_init=1, tol=0).fit(X.numpy())
        ratios.append(ours.inertia_ / theirs.inertia_)
    assert np.mean(np.log(ratios)) < 0


def test_restarts_of_tight_clusters_are_told_apart() -> None:
    # Of the squares, the inertia is 1e-10: what a float32 sum of scores cannot tell.
    X = torch.eye(8).repeat(40, 1) + 1e-5 * mixture(320, 8, 40)
    kmeans = KMeans(16, metric="euclidean", n_init=8, random_state=0).fit(X)
    single = [
        KMeans(16, metric="euclidean", n_init=1, random_state=seed).fit(X).inertia_
        for seed in range(8)
    ]
    assert kmeans.inertia_ <= np.median(single)


def test_nearly_equal_rows_end_soon() -> None:
    # Spread 1e-6: float32 scores of unit rows are rounding alone.
    X = 1 + 1e-6 * mixture(300, 8, 4)
    kmeans = KMeans(4, random_state=0).fit(X)
    assert kmeans.n_iter_ < 100
    assert torch.equal(kmeans.predict(X), kmeans.labels_)
    assert torch.bincount(kmeans.labels_, minlength=4).min() >= 1


def test_empty_clusters_take_the_farthest_rows_and_what_is_near() -> None:
    rows = torch.tensor([[0.0], [1.0], [9.0], [9.0], [-5.0]])
    centers, labels = torch.zeros(3, 1), torch.zeros(5, dtype=torch.long)
    assert farthest_rows(rows, centers, labels) == {1: 2, 2: 4}
    filled = fill_empty(rows, centers, labels, metric="euclidean", least=0.0)
    assert filled is not None
    assert filled[0].flatten().tolist() == [0.0, 9.0, -5.0]
    assert filled[1].tolist() == [0, 0, 1, 1, 2]
    assert fill_empty(rows, *filled[:2], metric="euclidean", least=0.0) is None


@pytest.mark.parametrize("metric", METRICS)
def test_every_row_its_own_cluster(metric: str) -> None:
    X = mixture(40, 5, 40)
    kmeans = KMeans(40, metric=metric, random_state=0).fit(X)
    assert sorted(kmeans.labels_.tolist()) == list(range(40))
    assert kmeans.inertia_ == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_as_many_clusters_as_different_rows(metric: str) -> None:
    X = torch.eye(4).repeat(25, 1) + 3 * torch.eye(4)[0]
    kmeans = KMeans(4, metric=metric, random_state=0, n_init=1).fit(X)
    assert torch.bincount(kmeans.labels_).tolist() == [25] * 4


@pytest.mark.parametrize("metric", METRICS)
def test_fewer_different_rows_than_clusters_warns(metric: str) -> None:
    X = torch.eye(3).repeat(10, 1)
    with pytest.warns(ConvergenceWarning, match="only 3 different rows.*n_clusters=5"):
        kmeans = KMeans(5, metric=metric, random_state=0).fit(X)
    assert kmeans.inertia_ == pytest.approx(0, abs=1e-10)
    assert torch.equal(kmeans.predict(X), kmeans.labels_)
    assert bool(kmeans.cluster_centers_.isfinite().all())


@pytest.mark.parametrize("metric", METRICS)
def test_one_cluster(metric: str) -> None:
    X = mixture(50, 3, 2) + 2
    kmeans = KMeans(1, metric=metric).fit(X)
    mean = (F.normalize(X, dim=1) if metric == "cosine" else X).mean(0)
    mean = F.normalize(mean, dim=0) if metric == "cosine" else mean
    torch.testing.assert_close(kmeans.cluster_centers_[0], mean)
    assert kmeans.labels_.unique().tolist() == [0]


def test_opposite_rows_have_no_mean_direction() -> None:
    kmeans = KMeans(1, random_state=0).fit(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert kmeans.cluster_centers_.norm() == pytest.approx(1)
    assert kmeans.inertia_ == pytest.approx(4)


def test_far_from_the_origin_and_constant_columns() -> None:
    X = mixture(400, 4, 3, spread=0.05).double()
    X[:, 1] = 7
    plain = KMeans(3, metric="euclidean", random_state=0).fit(X)
    shifted = KMeans(3, metric="euclidean", random_state=0).fit(X.float() + 1000)
    assert torch.equal(plain.labels_, shifted.labels_)
    assert shifted.inertia_ == pytest.approx(plain.inertia_, rel=1e-2)


def test_centres_closer_than_float32_scores_can_tell() -> None:
    # Seen from the mean, the two right-hand groups are 1e-3 apart at distance 500.
    X = torch.tensor([[-1000.0, 0.0]] * 4 + [[0.0, 0.0]] * 2 + [[0.0, 1e-3]] * 2)
    kmeans = KMeans(3, metric="euclidean", random_state=0).fit(X)
    assert torch.bincount(kmeans.labels_).sort().values.tolist() == [2, 2, 4]
    assert kmeans.inertia_ == pytest.approx(0, abs=1e-9)


def test_tiny_rows_have_a_direction() -> None:
    X = torch.tensor([[1e-30, 0.0], [2e-30, 0.0], [0.0, 1.0]])
    labels = KMeans(2, random_state=0).fit(X).labels_
    assert labels[0] == labels[1] != labels[2]


@pytest.mark.parametrize("metric", METRICS)
def test_chunks_change_nothing(metric: str) -> None:
    X = mixture(1001, 6, 7, spread=1.0)
    whole = KMeans(7, metric=metric, random_state=0).fit(X)
    parts = KMeans(7, metric=metric, random_state=0, chunk_size=37).fit(X)
    assert torch.equal(whole.labels_, parts.labels_)
    assert torch.equal(whole.labels_, parts.predict(X))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_other_dtypes_are_computed_in_float32(dtype: torch.dtype) -> None:
    X = (10 * mixture(200, 4, 3)).to(dtype)
    kmeans = KMeans(3, random_state=0).fit(X)
    assert kmeans.cluster_centers_.dtype == torch.float32
    assert torch.equal(kmeans.labels_, KMeans(3, random_state=0).fit(X.float()).labels_)


def test_numpy_views_and_gradients_are_welcome() -> None:
    X = mixture(200, 4, 3)
    expected = KMeans(3, random_state=0).fit(X)
    array = X.numpy().copy()
    array.setflags(write=False)
    assert torch.equal(KMeans(3, random_state=0).fit(array).labels_, expected.labels_)
    assert torch.equal(expected.predict(array[::-1]), expected.labels_.flip(0))
    kmeans = KMeans(3, random_state=0).fit(X.clone().requires_grad_())
    assert not kmeans.cluster_centers_.requires_grad


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


def test_warm_start_from_converged_centres_is_one_iteration() -> None:
    X = mixture(800, 6, 5)
    first = KMeans(5, random_state=0).fit(X)
    again = KMeans(5, init=first.cluster_centers_).fit(X)
    assert again.n_iter_ == 1
    assert torch.equal(again.labels_, first.labels_)


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


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"n_clusters": 7}, ValueError, "n_clusters=7 and 6 rows"),
        ({"n_clusters": 0}, ValueError, "n_clusters must be >= 1, got 0"),
        ({"n_clusters": 2.0}, TypeError, r"n_clusters must be an int, got 2\.0"),
        ({"n_clusters": True}, TypeError, "n_clusters must be an int, got True"),
        ({"metric": "l1"}, ValueError, "metric must be one of .*got 'l1'"),
        ({"init": "kmeans"}, ValueError, "init must be one of .*got 'kmeans'"),
        ({"init": torch.eye(3)}, ValueError, r"init must have shape .*\(2, 6\)"),
        ({"init": X_GOOD[:2] / 0}, ValueError, "init contains"),
        ({"init": 0 * X_GOOD[:2]}, ValueError, "init has 2 rows of zero length"),
        ({"n_init": 0}, ValueError, "n_init must be >= 1, got 0"),
        ({"max_iter": 0}, ValueError, "max_iter must be >= 1, got 0"),
        ({"tol": -1}, ValueError, "tol must be >= 0, got -1"),
        ({"tol": float("nan")}, ValueError, "tol must be .*got nan"),
        ({"tol": "a"}, TypeError, "tol must be a number, got 'a'"),
        ({"tol": True}, TypeError, "tol must be a number, got True"),
        ({"tol": 10**400}, ValueError, "tol must be .*got 1000"),
        ({"tol": float("inf")}, ValueError, "tol must be .*got inf"),
        ({"max_iter": 3.0}, TypeError, r"max_iter must be an int, got 3\.0"),
        ({"n_init": None}, TypeError, "n_init must be an int, got None"),
        ({"metric": None}, ValueError, "metric must be one of .*got None"),
        ({"metric": np.ones(2)}, ValueError, "metric must be one of .*got array"),
        ({"init": None}, TypeError, "init must hold numbers, got a NoneType"),
        ({"init": [[1], [1, 2]]}, ValueError, "init must be .*rows do not fit"),
        ({"init": 1e18 * X_GOOD[:2], "metric": "euclidean"}, ValueError, "init .*1e"),
        ({"subsample": np.ones(2)}, TypeError, "subsample must be an int, got array"),
        ({"chunk_size": 2.5}, TypeError, r"chunk_size must be an int, got 2\.5"),
        ({"distributed": "no"}, TypeError, "distributed must be a bool, got 'no'"),
        ({"random_state": 2**64}, ValueError, r"random_state must be < 2\*\*64"),
        ({"random_state": True}, TypeError, "random_state must be .*got True"),
        ({"random_state": "a"}, TypeError, "random_state must be .*got 'a'"),
        ({"subsample": 1}, ValueError, "subsample must be >= 2, got 1"),
        ({"subsample": "all"}, TypeError, "subsample must be an int, got 'all'"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be >= 1, got 0"),
    ],
)
def test_bad_settings_are_named(
    settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        KMeans(**{"n_clusters": 2, **settings}).fit(X_GOOD)  # type: ignore[arg-type]


def with_value(value: float) -> Tensor:
    X = torch.eye(6)
    X[4, 1] = value
    return X


@pytest.mark.parametrize(
    "X, error, message",
    [
        (with_value(float("nan")), ValueError, "X contains NaN in 1 of 6 rows.*row 4"),
        (with_value(float("inf")), ValueError, "X contains infinite.*row 4"),
        (with_value(1e30), ValueError, r"X holds values as large as 1e\+30"),
        (torch.ones(6), ValueError, r"X must have shape \(n, d\).*got \(6,\)"),
        (torch.ones(0, 3), ValueError, r"X must have shape .*got \(0, 3\)"),
        (torch.ones(3, 0), ValueError, r"X must have shape .*got \(3, 0\)"),
        (0 * X_GOOD, ValueError, "X has 6 rows of zero length.*row 0"),
        (np.array([["a"]]), TypeError, "X must hold numbers"),
        (X_GOOD.to(torch.complex64), TypeError, "X must be real"),
        (X_GOOD.to_sparse(), TypeError, r"X must be dense, got layout torch\.sparse"),
        (None, TypeError, "X must hold numbers, got a NoneType"),
        ([[1.0], [1.0, 2.0]], ValueError, "X must be .*rows do not fit each other"),
    ],
)
def test_bad_data_are_named(X: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        KMeans(2).fit(X)  # type: ignore[arg-type]


def test_predict_checks_its_input() -> None:
    with pytest.raises(NotFittedError, match="call fit before predict"):
        KMeans(2).predict(X_GOOD)
    kmeans = KMeans(2, random_state=0).fit(X_GOOD)
    with pytest.raises(ValueError, match=r"6 columns.*\(2, 5\)"):
        kmeans.predict(torch.ones(2, 5))
    with pytest.raises(ValueError, match="X contains NaN"):
        kmeans.predict(with_value(float("nan")))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("metric", METRICS)
def test_gpu_agrees_with_cpu(metric: str) -> None:
    X = mixture(20_000, 16, 10)
    cpu = KMeans(10, metric=metric, random_state=0).fit(X)
    gpu = KMeans(10, metric=metric, random_state=0).fit(X.cuda())
    assert gpu.labels_.is_cuda
    assert gpu.inertia_ == pytest.approx(cpu.inertia_, rel=1e-4)
    assert torch.equal(gpu.predict(X.cuda()), gpu.labels_)
    again = KMeans(10, metric=metric, random_state=0).fit(X.cuda())
    assert torch.equal(gpu.labels_, again.labels_)
