"""Partitions found by k-means: where it starts, and what they say of embeddings."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from hadis_lightly.cluster import (
    PrototypePartition,
    Whitening,
    clustering_scores,
    fit_partition,
)
from tests.cluster.generated import SEEDS, cases, has_directions

TARGETS = torch.arange(80) % 4
POINTS = F.normalize(
    4 * torch.eye(4)[TARGETS]
    + 0.2 * torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
)
# Clusters 2 and 3 are one, and 0 is cut in two: a local minimum.
STUCK = torch.where((TARGETS == 0) & (POINTS[:, 1] > 0), 3, TARGETS.clamp(max=2))


@pytest.mark.parametrize("whiten", [False, True])
def test_a_start_is_where_the_search_begins_and_the_only_one(whiten: bool) -> None:
    def accuracy(start: Tensor | None) -> float:
        partition = fit_partition(POINTS, 4, random_state=0, whiten=whiten, start=start)
        return clustering_scores(TARGETS, partition.labels)["acc"]

    assert accuracy(None) == 1.0
    assert accuracy(TARGETS) == 1.0
    assert accuracy(STUCK) < 0.9
    # An empty cluster has no centre to start from: the search is as usual.
    assert accuracy(TARGETS.clamp(max=2)) == 1.0


@given(cases(), st.booleans(), SEEDS)
def test_partitions_fit_their_rows(
    case: tuple[Tensor, int], whiten: bool, seed: int
) -> None:
    X, k = case
    assume(has_directions(X))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            partition = fit_partition(X, k, n_init=2, random_state=0, whiten=whiten)
    except ValueError as error:
        rows = F.normalize(X.double(), dim=1)
        assert whiten
        assert len(X) == 1 or float((rows - rows[0]).abs().max()) < 1e-6, error
        return
    assert torch.equal(partition.predict(X), partition.labels)
    assert 0 <= int(partition.labels.min()) <= int(partition.labels.max()) < k
    ones = torch.ones(k, dtype=X.dtype)
    torch.testing.assert_close(partition.prototypes.norm(dim=1), ones)
    for temperature in (1e-30, 0.1, 1e30):
        confidence = partition.confidence(X, temperature)
        assert bool((confidence >= 0).all() & (confidence <= 1).all())
    again = PrototypePartition.from_state_dict(partition.state_dict())
    assert torch.equal(again.predict(X), partition.labels)
    names = torch.randperm(k, generator=torch.Generator().manual_seed(seed))
    numbered = partition.renumbered(names[partition.labels])
    assert torch.equal(numbered.labels, names[partition.labels])
    used = partition.labels.unique()
    assert torch.equal(numbered.centers[names[used]], partition.centers[used])
    assert torch.equal(numbered.prototypes[names[used]], partition.prototypes[used])


def test_clusters_keep_the_labels_of_most_embeddings() -> None:
    partition = fit_partition(POINTS, 4, random_state=0)
    previous = (TARGETS + 1) % 4
    previous[:6] = torch.tensor([0, 0, 0, -1, -1, -1])
    expected = (TARGETS + 1) % 4
    assert torch.equal(partition.renumbered(previous).labels, expected)
    unknown = partition.renumbered(torch.full((80,), -1))
    assert torch.equal(unknown.labels, partition.labels)


def test_confidence_and_distance_by_hand() -> None:
    prototypes = torch.eye(2)
    partition = PrototypePartition(torch.tensor([0, 1]), prototypes, prototypes)
    X = torch.tensor([[2.0, 0.0], [0.6, 0.8]])
    logits = torch.tensor([10.0, 2.0])  # of the difference of cosines 1 and 0.2
    torch.testing.assert_close(partition.confidence(X), logits.sigmoid())
    torch.testing.assert_close(partition.distance(X), torch.tensor([0, 0.4**0.5]))


@pytest.mark.parametrize("whiten", [False, True])
def test_a_batch_is_labelled_without_a_look_at_values(whiten: bool) -> None:
    """Tensors without values refuse to be looked at, as a training step must not."""
    with torch.device("meta"):
        whitening = None
        if whiten:
            state = {"mean": torch.empty(16), "components": torch.empty(16, 5)}
            whitening = Whitening.from_state_dict(state)
        partition = PrototypePartition(
            labels=torch.empty(8, dtype=torch.long),
            centers=torch.empty(4, 5 if whiten else 16),
            prototypes=torch.empty(4, 16),
            whitening=whitening,
        )
        embeddings = torch.empty(32, 16)
        assert partition.predict(embeddings).shape == (32,)
        assert partition.confidence(embeddings).shape == (32,)
        with pytest.raises(RuntimeError, match="meta tensors"):
            embeddings.sum().item()


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"start must be below.*label 3 and 2"):
        fit_partition(torch.eye(4), 2, start=[0, 1, 2, 3])
    partition = fit_partition(torch.eye(4), 2, random_state=0)
    with pytest.raises(ValueError, match="embeddings must have 4 columns"):
        partition.predict(torch.eye(3))
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="NaN or infinite values in 1 of 2 rows"):
            partition.predict(torch.tensor([[bad, 0, 0, 0], [1, 0, 0, 0]]))


def test_a_whitened_search_can_start_from_clusters_on_the_cosine() -> None:
    rows = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    found = fit_partition(rows, 5, whiten=True, cosine_start=True, random_state=0)
    start = fit_partition(rows, 5, random_state=0).labels
    expected = fit_partition(rows, 5, whiten=True, start=start)
    assert torch.equal(found.labels, expected.labels)
    own = fit_partition(rows, 5, whiten=True, random_state=0)
    assert not torch.equal(found.labels, own.labels)
