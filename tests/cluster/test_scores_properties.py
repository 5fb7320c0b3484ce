"""Scores, whitening and partitions of generated cases: right, or a clear error."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from torch import Tensor

from hadis_lightly.cluster import (
    Partition,
    Whitening,
    clustering_scores,
    fit_partition,
    label_free_scores,
    match_clusters,
)

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([torch.float32, torch.float64])
# Powers of ten by which data are scaled; the least make float32 denormal.
POWERS = st.sampled_from([-42, -30, -12, 0, 0, 0, 6, 15])


@st.composite
def labelled(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Targets, some unknown, and labels; more classes than clusters or the reverse."""
    n = draw(st.integers(1, 40))
    classes, clusters = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    targets = draw(st.lists(st.integers(-1, classes), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, clusters), min_size=n, max_size=n))
    return targets, labels


@given(labelled(), SEEDS)
@example(([0], [3]), 0)
@example(([2, 2, 2], [0, 1, 2]), 0)
@example(([0, 1, 2], [1, 1, 1]), 0)
def test_scores_are_those_of_scikit_learn(
    case: tuple[list[int], list[int]], seed: int
) -> None:
    targets, labels = case
    if max(targets) == -1:
        for function in (clustering_scores, match_clusters):
            with pytest.raises(ValueError, match="targets must name the class"):
                function(targets, labels)
        return
    known = [(t, c) for t, c in zip(targets, labels, strict=True) if t >= 0]
    t, c = (np.array(values) for values in zip(*known, strict=True))
    scores = clustering_scores(targets, labels)
    assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(t, c))
    assert scores["ari"] == pytest.approx(adjusted_rand_score(t, c))
    table = np.zeros((t.max() + 1, c.max() + 1))
    np.add.at(table, (t, c), 1)
    hits = table[linear_sum_assignment(-table)].sum()
    assert scores["acc"] == pytest.approx(hits / len(t))
    matching, ordered = match_clusters(targets, labels)
    assert int(np.trace(ordered)) == hits and int(ordered.sum()) == len(t)
    assert ordered.sum(1).tolist() == table.sum(1).tolist()
    assert set(matching) <= set(c.tolist()) and set(matching.values()) <= set(t)
    assert len(set(matching.values())) == len(matching)
    # Neither names nor order matter.
    rng = np.random.default_rng(seed)
    names, order = rng.permutation(7), rng.permutation(len(labels))
    renamed = clustering_scores(np.array(targets)[order], names[labels][order])
    assert renamed == pytest.approx(scores, abs=1e-12)


NOT_LABELS: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "must hold numbers, got a NoneType"),
    ("abc", TypeError, "must hold numbers, got a str"),
    ([[0], [1, 2]], ValueError, "rows do not fit each other"),
    ([[0, 1]], ValueError, r"must have shape \(n,\), got \(1, 2\)"),
    (3, ValueError, r"must have shape \(n,\), got \(\)"),
    ([0.0, 1.0], TypeError, "must hold integers, got dtype torch.float64"),
    ([math.nan, 1], TypeError, "must hold integers"),
    (torch.zeros(2, dtype=torch.complex64), TypeError, "must hold integers"),
    (torch.zeros(2).to_sparse(), TypeError, "must be dense, got layout"),
    ([0, -5], ValueError, "must be >= -?[01], got -5"),
    (np.array([0, 2**63 + 1], dtype=np.uint64), ValueError, r"must be < 2\*\*63"),
    ([0, 1, 1], ValueError, "got"),
]


@pytest.mark.parametrize("wrong, error, message", NOT_LABELS)
def test_wrong_labels_are_named_everywhere(
    wrong: Any, error: type[Exception], message: str
) -> None:
    rows = torch.eye(2)
    partition = fit_partition(rows, 2, random_state=0)
    for name, call in {
        "targets": lambda: clustering_scores(wrong, [0, 1]),
        "labels": lambda: match_clusters([0, 1], wrong),
        "labels ": lambda: label_free_scores(rows, wrong, rows),
        "start": lambda: fit_partition(rows, 2, start=wrong),
        "previous_labels": lambda: partition.renumbered(wrong),
    }.items():
        if wrong is None and name == "start":
            continue
        with pytest.raises(error, match=f"{name.strip()}.*{message}"):
            call()


def test_labels_too_large_for_a_table_are_named() -> None:
    with pytest.raises(ValueError, match="a target 1099511627776 and a label 1:"):
        match_clusters([0, 2**40], [0, 1])
    assert clustering_scores([0, 2**40], [0, 1])["acc"] == 1.0


@st.composite
def embedded(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Rows ``(n, d)`` of any length, some alike, and a number of clusters."""
    n, d = draw(st.integers(1, 30)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        X = X[torch.arange(n) % draw(st.integers(1, n))]
    if draw(st.booleans()):
        X[:, 0] = 1.0
    if draw(st.booleans()):
        X = X.round()
    X = (X * 10.0 ** draw(POWERS)).to(draw(DTYPES))
    return X, draw(st.integers(1, n))


@given(embedded(), st.integers(2, 40), SEEDS)
def test_label_free_scores_are_right(
    case: tuple[Tensor, int], sample_size: int, seed: int
) -> None:
    X, k = case
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(k, (len(X),), generator=generator)
    centers = torch.randn(k + 1, X.shape[1], generator=generator).to(X.dtype)
    scores = label_free_scores(
        X, labels, centers, sample_size=sample_size, random_state=seed
    )
    wide = X.double() / max(float(X.abs().max()), 1e-300)
    cosine = F.cosine_similarity(wide, centers.double()[labels], dim=1, eps=1e-100)
    assert scores["prototype_cosine"] == pytest.approx(float(cosine.mean()), abs=1e-5)
    counts = torch.bincount(labels, minlength=k + 1)
    assert scores["size_min"] == 0 and scores["size_max"] == int(counts.max())
    shares = counts[counts > 0] / len(X)
    entropy = -float((shares * shares.log()).sum()) / math.log(k + 1)
    assert scores["size_entropy"] == pytest.approx(entropy, abs=1e-6)
    found = len(labels.unique())
    if sample_size >= len(X):
        assert math.isnan(scores["silhouette"]) == (not 2 <= found < len(X))
        units = F.normalize(wide, dim=1)
        alike = (units @ units.T).fill_diagonal_(-1).amax() > 1 - 1e-9
        # Between equal rows the silhouette is a quotient of two roundings.
        if 2 <= found < len(X) and not alike:
            expected = silhouette_score(wide, labels, metric="cosine")
            assert scores["silhouette"] == pytest.approx(expected, abs=1e-3)


@given(embedded(), st.integers(1, 8))
def test_whitened_rows_are_white(case: tuple[Tensor, int], components: int) -> None:
    X, _ = case
    whitening = Whitening(min_components=components)
    try:
        whitening.fit(X)
    except ValueError as error:
        complaint = str(error)
        if len(X) < 2:
            assert complaint.startswith("X must be (n, d) with n >= 2, got (1, ")
        elif bool(X.eq(X[0]).all()):
            assert complaint.startswith("X has no variance: all rows are equal")
        else:
            assert complaint.startswith("X varies by") and X.dtype == torch.float32
            assert float(X.abs().max()) < 1e-35
        return
    m = whitening.n_components_
    assert 1 <= m <= min(X.shape[1], len(X) - 1)
    assert whitening.mean_.dtype == whitening.components_.dtype == X.dtype
    points = whitening.transform(X).double()
    assert points.shape == (len(X), m) and bool(points.isfinite().all())
    # The components that are kept may be a thousand times smaller than the largest.
    close = 1e-2 if X.dtype == torch.float32 else 1e-5
    covariance = (points - points.mean(0)).T @ (points - points.mean(0)) / len(X)
    largest = float(X.double().std(0, correction=0).max() / X.abs().max())
    assume(largest > 1e-3)
    torch.testing.assert_close(
        covariance, torch.eye(m, dtype=torch.float64), rtol=0, atol=close
    )
    restored = Whitening.from_state_dict(whitening.state_dict())
    assert torch.equal(restored.transform(X), whitening.transform(X))


def test_whitening_names_what_is_wrong() -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        Whitening().transform(torch.eye(3))
    for value, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=f"min_components must be .* got {value}"):
            Whitening(value).fit(torch.eye(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"X must have the 3 columns.*\(2, 2\)"):
        Whitening().fit(torch.eye(3)).transform(torch.eye(2))
    with pytest.raises(ValueError, match="X contains NaN in 1 of 2 rows"):
        Whitening().fit(torch.tensor([[1.0, math.nan], [0.0, 1.0]]))
    with pytest.raises(TypeError, match="X must be real"):
        Whitening().fit(torch.eye(3, dtype=torch.complex64))


def partitioned(X: Any, k: int, **settings: Any) -> Partition:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit_partition(X, k, n_init=2, random_state=0, **settings)


@given(embedded(), st.booleans(), st.floats(1e-320, 1e300), SEEDS)
def test_partitions_fit_their_rows(
    case: tuple[Tensor, int], whiten: bool, temperature: float, seed: int
) -> None:
    X, k = case
    if not bool((X != 0).any(1).all()):
        with pytest.raises(
            ValueError, match=r"embeddings has \d+ rows without a direction"
        ):
            partitioned(X, k, whiten=whiten)
        return
    try:
        partition = partitioned(X, k, whiten=whiten)
    except ValueError as error:
        units = F.normalize(X.double() / X.double().abs().amax(1, keepdim=True), dim=1)
        assert whiten
        assert len(X) == 1 or float((units - units[0]).abs().max()) < 1e-6, error
        return
    assert torch.equal(partition.predict(X), partition.labels)
    assert partition.labels.shape == (len(X),)
    assert 0 <= int(partition.labels.min()) <= int(partition.labels.max()) < k
    ones = torch.ones(k, dtype=X.dtype)
    torch.testing.assert_close(partition.prototypes.norm(dim=1), ones)
    confidence = partition.confidence(X, temperature)
    assert confidence.shape == (len(X),)
    assert bool((confidence >= 0).all() & (confidence <= 1).all())
    again = Partition.from_state_dict(partition.state_dict())
    assert torch.equal(again.predict(X), partition.labels)
    names = torch.randperm(k, generator=torch.Generator().manual_seed(seed))
    previous = names[partition.labels]
    numbered = partition.renumbered(previous)
    assert torch.equal(numbered.labels, previous)
    used = partition.labels.unique()
    assert torch.equal(numbered.centers[names[used]], partition.centers[used])
    assert torch.equal(numbered.prototypes[names[used]], partition.prototypes[used])
    unknown = partition.renumbered(torch.full_like(previous, -1))
    assert torch.equal(unknown.labels, partition.labels)


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"n_clusters": 0}, ValueError, "n_clusters must be >= 1, got 0"),
        ({"n_clusters": 9}, ValueError, "n_clusters=9 and 4 rows"),
        ({"n_clusters": 2.0}, TypeError, r"n_clusters must be an int, got 2\.0"),
        ({"whiten": 1}, TypeError, "whiten must be a bool, got 1"),
        ({"n_init": 0}, ValueError, "n_init must be >= 1, got 0"),
        ({"random_state": "a"}, TypeError, "random_state must be .*got 'a'"),
        ({"random_state": 2**64}, ValueError, r"random_state must be < 2\*\*64"),
        ({"start": [0, 1, 2, 3]}, ValueError, "start must be below.*label 3 and 2"),
        ({"distributed": 1}, TypeError, "distributed must be a bool, got 1"),
        ({"embeddings": torch.eye(4)[0]}, ValueError, r"embeddings .* got \(4,\)"),
        ({"embeddings": torch.eye(4) / 0}, ValueError, "embeddings contains NaN"),
        ({"embeddings": "x"}, TypeError, "embeddings must hold numbers, got a str"),
    ],
)
def test_wrong_settings_of_a_partition_are_named(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit_partition(**{"embeddings": torch.eye(4), "n_clusters": 2, **settings})


def test_what_a_partition_cannot_use_is_named() -> None:
    partition = fit_partition(torch.eye(4), 2, random_state=0)
    with pytest.raises(ValueError, match=r"embeddings must have the 4 columns"):
        partition.predict(torch.eye(3))
    with pytest.raises(ValueError, match="embeddings has 1 rows without a direction"):
        partition.predict(torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0]]))
    for wrong, error in ((0, ValueError), (-1.0, ValueError), ("a", TypeError)):
        with pytest.raises(error, match=f"temperature must be .*{wrong}"):
            partition.confidence(torch.eye(4), wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 3 labels and 4 rows"):
        partition.renumbered([0, 1, 1])
    with pytest.raises(ValueError, match="got label 2 and 2 clusters"):
        partition.renumbered([0, 1, 1, 2])
