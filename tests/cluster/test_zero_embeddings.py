"""Embeddings of zeros: a black image and a dead ReLU must not end a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.cluster import HeadPartition, fit_partition
from tests.cluster.generated import mixture

K, AT = 4, [0, 7, 60]
POINTS = F.normalize(mixture(80, 6, K, seed=3), dim=1)


def with_zeros() -> tuple[Tensor, Tensor]:
    """Points with three rows of zeros among them, and which are none."""
    is_zero = torch.zeros(83, dtype=torch.bool)
    is_zero[AT] = True
    rows = torch.zeros(83, 6)
    rows[~is_zero] = POINTS
    return rows, ~is_zero


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_zeros_have_no_say_in_the_clusters(whiten: bool, started: bool) -> None:
    rows, has_direction = with_zeros()
    settings: dict[str, Any] = {"random_state": 0, "whiten": whiten}
    start = torch.arange(83) % K if started else None
    found = fit_partition(rows, K, start=start, **settings)
    start = start[has_direction] if start is not None else None
    alone = fit_partition(POINTS, K, start=start, **settings)
    assert torch.equal(found.centers, alone.centers)
    assert torch.equal(found.prototypes, alone.prototypes)
    assert torch.equal(found.labels[has_direction], alone.labels)


@pytest.mark.parametrize("whiten", [False, True])
def test_zeros_have_one_label_in_the_fit_and_in_any_batch(whiten: bool) -> None:
    rows, has_direction = with_zeros()
    partition = fit_partition(rows, K, random_state=0, whiten=whiten)
    label = int(partition.labels[AT[0]])
    for names in (torch.arange(K), torch.randperm(K), torch.arange(K).flip(0)):
        renamed = partition.renumbered(names[partition.labels])
        assert torch.equal(renamed.predict(rows), renamed.labels)
        assert renamed.labels[~has_direction].tolist() == [int(names[label])] * 3
        assert int(renamed.predict(torch.zeros(1, 6))) == int(names[label])


@pytest.mark.parametrize("whiten", [False, True])
def test_zeros_are_the_least_certain_and_as_far_as_a_right_angle(whiten: bool) -> None:
    rows, has_direction = with_zeros()
    partition = fit_partition(rows, K, random_state=0, whiten=whiten)
    confidence = partition.confidence(rows)
    assert confidence[AT].tolist() == [1 / K] * 3
    assert bool((confidence[has_direction] > 1 / K).all())
    distance = partition.distance(rows)
    assert distance[AT].tolist() == pytest.approx([2**0.5] * 3)
    assert bool(distance.isfinite().all())


def test_zeros_alone_are_no_set() -> None:
    with pytest.raises(ValueError, match="all zeros, got 5 rows"):
        fit_partition(torch.zeros(5, 3), 2)
    rows = torch.cat([torch.eye(3), torch.zeros(3, 3)])
    with pytest.raises(ValueError, match="n_clusters=4 and 6 embeddings, 3 of"):
        fit_partition(rows, 4)
    assert fit_partition(rows, 3, random_state=0).labels[:3].unique().numel() == 3


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_values_that_are_not_finite_stay_errors(bad: float) -> None:
    rows, _ = with_zeros()
    partition = fit_partition(rows, K, random_state=0)
    rows[3, 2] = bad
    for function in (
        partition.predict,
        partition.confidence,
        partition.distance,
        lambda X: fit_partition(X, K),
    ):
        with pytest.raises(ValueError, match="NaN or infinite values in 1 of 83"):
            function(rows)


def test_a_cluster_head_takes_zeros_too() -> None:
    rows = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    likely = torch.tensor([[0.1, 0.5, 0.4], *[[0.7, 0.2, 0.1]] * 3])
    partition = HeadPartition.of(rows, likely)
    assert bool(partition.prototypes.any(dim=1).all())
    assert float(partition.distance(rows, likely)[0]) == pytest.approx(2**0.5)
