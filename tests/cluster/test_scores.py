from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from hadis_lightly.cluster import (
    clustering_scores,
    label_free_scores,
    match_clusters,
)


def accuracy_by_hand(targets: np.ndarray, labels: np.ndarray, size: int) -> float:
    """Best accuracy over all permutations of ``size`` names."""
    return max(
        float(np.mean(np.array(names)[labels] == targets))
        for names in itertools.permutations(range(size))
    )


@pytest.mark.parametrize("classes, clusters", [(4, 4), (3, 5), (5, 3), (4, 1)])
def test_scores_against_sklearn_and_all_permutations(
    classes: int, clusters: int
) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(classes, size=60)
    labels = rng.integers(clusters, size=60)
    scores = clustering_scores(targets, labels)
    assert list(scores) == ["nmi", "acc", "ari"]
    assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(targets, labels))
    assert scores["ari"] == pytest.approx(adjusted_rand_score(targets, labels))
    expected = accuracy_by_hand(targets, labels, max(classes, clusters))
    assert scores["acc"] == pytest.approx(expected)
    assert all(type(score) is float for score in scores.values())


def test_renamed_clusters_are_perfect() -> None:
    targets = torch.arange(10).repeat(5)
    scores = clustering_scores(targets, (targets + 3) % 10)
    assert scores == pytest.approx({"nmi": 1, "acc": 1, "ari": 1})


def test_unknown_targets_are_left_out() -> None:
    known = clustering_scores([0, 0, 1, 1], [1, 1, 0, 1])
    assert clustering_scores([0, -1, 0, 1, 1, -1], [1, 0, 1, 0, 1, 7]) == known


def test_tensors_arrays_and_lists_give_the_same() -> None:
    targets, labels = [0, 1, 1, 2], [1, 0, 0, 1]
    expected = clustering_scores(targets, labels)
    for dtype in (torch.int32, torch.uint8, torch.int64):
        tensors = torch.tensor(targets, dtype=dtype), torch.tensor(labels, dtype=dtype)
        assert clustering_scores(*tensors) == expected
    assert clustering_scores(np.array(targets), np.array(labels)) == expected


def test_ari_of_many_samples_does_not_overflow() -> None:
    targets = torch.arange(70_000) % 10
    assert clustering_scores(targets, targets)["ari"] == pytest.approx(1)


def test_matching_with_more_clusters_than_classes() -> None:
    matching, table = match_clusters([0, 0, 0, 1, 1, 1], [2, 2, 0, 1, 1, 2])
    assert matching == {2: 0, 1: 1}
    assert table.tolist() == [[2, 0, 1], [1, 2, 0]]


def test_matching_with_fewer_clusters_than_classes() -> None:
    matching, table = match_clusters([0, 0, 1, 1, 2], [1, 1, 0, 0, 0])
    assert matching == {1: 0, 0: 1}
    assert table.tolist() == [[2, 0, 0], [0, 2, 0], [0, 1, 0]]


def test_matching_agrees_with_accuracy() -> None:
    rng = np.random.default_rng(1)
    targets, labels = rng.integers(-1, 6, size=200), rng.integers(6, size=200)
    matching, table = match_clusters(targets, labels)
    accuracy = clustering_scores(targets, labels)["acc"]
    assert np.trace(table) / (targets >= 0).sum() == pytest.approx(accuracy)
    assert sorted(matching) == list(range(6))


@pytest.mark.parametrize(
    "targets, labels, error, message",
    [
        ([0, 1], [0, 1, 1], ValueError, r"same shape, got \(2,\) and \(3,\)"),
        ([[0, 1]], [0, 1], ValueError, r"targets must have shape \(n,\), got \(1, 2\)"),
        ([-1, -1], [0, 1], ValueError, "targets must name the class .*got 2 samples"),
        ([0, -2], [0, 1], ValueError, "targets must be >= -1, got -2"),
        ([0, 1], [0, -1], ValueError, "labels must be >= 0, got -1"),
        ([0.5, 1.0], [0, 1], TypeError, "targets must hold integers"),
        (["cat", "dog"], [0, 1], TypeError, "targets must hold numbers"),
    ],
)
def test_bad_input_is_named(
    targets: list[int], labels: list[int], error: type[Exception], message: str
) -> None:
    for function in (clustering_scores, match_clusters):
        with pytest.raises(error, match=message):
            function(targets, labels)


def test_label_free_scores_by_hand() -> None:
    half = math.sqrt(0.5)
    features = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0], [0.0, 1.0]])
    scores = label_free_scores(features, [0, 0, 1, 1], torch.eye(2))
    assert scores["size_min"] == scores["size_max"] == 2
    assert scores["size_entropy"] == pytest.approx(1)
    assert scores["prototype_cosine"] == pytest.approx((3 + half) / 4)
    expected = silhouette_score(features.numpy(), [0, 0, 1, 1], metric="cosine")
    assert scores["silhouette"] == pytest.approx(expected)


def test_label_free_scores_of_an_empty_cluster() -> None:
    scores = label_free_scores(torch.rand(5, 2), [0] * 5, torch.rand(2, 2))
    assert (scores["size_min"], scores["size_max"]) == (0, 5)
    assert scores["size_entropy"] == 0
    assert math.isnan(scores["silhouette"])


def test_silhouette_sample_follows_the_seed() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(500, 3, generator=generator)
    labels = (features[:, 0] > 0).long()
    centers = torch.eye(3)[:2]
    first, again, other = (
        label_free_scores(features, labels, centers, sample_size=50, random_state=seed)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first["silhouette"] != other["silhouette"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": [0, 1]}, "labels must have one entry per row.*2 labels and 3"),
        ({"labels": [0, 1, 2]}, "got label 2 and 2 centers"),
        ({"centers": torch.eye(3)}, "centers must have the columns of features"),
        ({"features": torch.eye(3)[:, :2] / 0}, "features contains NaN"),
        ({"sample_size": 1}, "sample_size must be >= 2, got 1"),
    ],
)
def test_label_free_bad_input_is_named(change: dict[str, object], message: str) -> None:
    good = {"features": torch.ones(3, 2), "labels": [0, 1, 1], "centers": torch.eye(2)}
    with pytest.raises(ValueError, match=message):
        label_free_scores(**{**good, **change})  # type: ignore[arg-type]
