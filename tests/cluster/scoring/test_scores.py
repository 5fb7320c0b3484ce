"""Scores against scikit-learn, by hand, and on generated labels."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from hadis_lightly.cluster import (
    clustering_scores,
    has_external_scores,
    label_free_scores,
    match_clusters,
    scores_of,
)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Targets, some unknown, and labels; more classes than clusters or the reverse."""
    n = draw(st.integers(1, 40))
    classes, clusters = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    targets = draw(st.lists(st.integers(-1, classes), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, clusters), min_size=n, max_size=n))
    return targets, labels


@given(labelled())
@example(([0], [3]))
@example(([2, 2, 2], [0, 1, 2]))
@example(([0, 1, 2], [1, 1, 1]))
def test_scores_of_scikit_learn_and_of_all_matchings(
    case: tuple[list[int], list[int]],
) -> None:
    targets, labels = case
    assume(max(targets) >= 0)
    known = [(t, c) for t, c in zip(targets, labels, strict=True) if t >= 0]
    t, c = (np.array(values) for values in zip(*known, strict=True))
    scores = clustering_scores(targets, labels)
    assert list(scores) == ["nmi", "acc", "ari"]
    assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(t, c))
    assert scores["ari"] == pytest.approx(adjusted_rand_score(t, c))
    best = max(
        int((np.array(names)[c] == t).sum())
        for names in itertools.permutations(range(5))
    )
    assert scores["acc"] == pytest.approx(best / len(t))
    matching, table = match_clusters(targets, labels)
    assert int(np.trace(table)) == best and int(table.sum()) == len(t)
    assert table.sum(1).tolist() == np.bincount(t).tolist()
    assert set(matching) <= set(c.tolist()) and set(matching.values()) <= set(t)
    assert len(set(matching.values())) == len(matching)


def test_renamed_clusters_are_perfect() -> None:
    targets = torch.arange(10, dtype=torch.uint8).repeat(5)
    scores = clustering_scores(targets, (targets + 3) % 10)
    assert scores == pytest.approx({"nmi": 1, "acc": 1, "ari": 1})


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


@pytest.mark.parametrize(
    "targets, labels, message",
    [
        ([0, 1], [0, 1, 1], r"same shape, got \(2,\) and \(3,\)"),
        ([-1, -1], [0, 1], "targets must hold at least one known class, got 2"),
        ([0, 1], [0.5, 1.0], "labels must hold integers"),
        (["cat", "dog"], [0, 1], "targets must hold real numbers"),
    ],
)
def test_wrong_labels_are_named(targets: Any, labels: Any, message: str) -> None:
    for function in (clustering_scores, match_clusters):
        with pytest.raises((ValueError, TypeError), match=message):
            function(targets, labels)


@pytest.mark.parametrize(
    "targets, labels",
    [
        ([0, 0, 0, 0], [0, 1, 0, 1]),  # a flat folder: one class
        ([2, 2, -1, -1], [0, 0, 1, 1]),  # one known class
        ([0, 0, 1, 1], [1, 1, 1, 1]),  # collapsed
        ([0, 1, -1, -1], [0, 0, 1, 1]),  # one cluster holds all of known class
        ([-1, -1, -1, -1], [0, 0, 1, 1]),
    ],
)
def test_nothing_is_scored_against_a_single_class_or_a_single_cluster(
    targets: list[int], labels: list[int]
) -> None:
    assert not has_external_scores(targets, labels)
    features = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0], [0.0, 1.0]])
    found = scores_of(targets, labels, features, torch.eye(2))
    assert next(iter(found)) == "silhouette"
    expected = label_free_scores(features, labels, torch.eye(2))
    assert found == pytest.approx(expected, nan_ok=True)


def test_label_free_scores_stand_beside_the_external_ones() -> None:
    targets, labels = [0, 0, 1, -1], [0, 0, 1, 1]
    assert has_external_scores(targets, labels)
    found = scores_of(targets, labels, torch.eye(4, 2) + 0.1, torch.eye(2))
    assert list(found)[:4] == ["nmi", "acc", "ari", "silhouette"]
    assert found.items() >= clustering_scores(targets, labels).items()


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
    scores = label_free_scores(torch.ones(5, 2), [0] * 5, torch.eye(2))
    assert (scores["size_min"], scores["size_max"]) == (0, 5)
    assert scores["size_entropy"] == 0
    assert math.isnan(scores["silhouette"])


def test_the_sample_of_the_silhouette_follows_the_seed() -> None:
    features = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] > 0).long()
    first, again, other = (
        label_free_scores(
            features, labels, torch.eye(3)[:2], sample_size=50, random_state=seed
        )
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first["silhouette"] != other["silhouette"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": [0, 1, 2]}, "got label 2 and 2 clusters"),
        ({"centers": torch.eye(3)}, "centers must have 2 columns"),
    ],
)
def test_label_free_wrong_input_is_named(change: dict[str, Any], message: str) -> None:
    good = {"features": torch.ones(3, 2), "labels": [0, 1, 1], "centers": torch.eye(2)}
    with pytest.raises(ValueError, match=message):
        label_free_scores(**{**good, **change})
