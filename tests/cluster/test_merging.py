"""Clusters of several centres: joined by links, or left as k-means finds them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from hadis_lightly.cluster import (
    PrototypePartition,
    clustering_scores,
    fit_merged_partition,
    fit_partition,
    merge_clusters,
)
from hadis_lightly.cluster.merging import modularity, neighbour_links


def digits(ratio: float) -> tuple[Tensor, Tensor]:
    """Pixels of digits, the most frequent ``ratio`` times as often as the rarest."""
    pixels, classes = load_digits(return_X_y=True)
    generator = np.random.default_rng(1)
    rows = np.concatenate(
        [
            generator.choice(
                np.flatnonzero(classes == digit),
                int(174 * ratio ** (-rank / 9)),
                replace=False,
            )
            for rank, digit in enumerate(generator.permutation(10))
        ]
    )
    centred = torch.tensor(pixels - pixels.mean(axis=0)).float()
    return centred[rows], torch.tensor(classes[rows])


def blobs(*sizes: int) -> tuple[Tensor, Tensor]:
    """Groups of embeddings around orthogonal directions, and their numbers."""
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    noise = torch.randn(len(groups), 16, generator=torch.Generator().manual_seed(0))
    return 3 * torch.eye(16)[groups] + 0.3 * noise, groups


def test_frequent_and_rare_digits_are_found() -> None:
    rows, classes = digits(20)
    plain = fit_partition(rows, 10, random_state=0)
    merged = fit_merged_partition(rows, 10, random_state=0)
    assert len(merged.centers) > 10 == merged.n_clusters
    before = clustering_scores(classes, plain.labels)["ari"]
    assert clustering_scores(classes, merged.labels)["ari"] > before + 0.1
    assert merged.labels.unique().tolist() == list(range(10))


@pytest.mark.parametrize("whiten", [False, True])
def test_clear_groups_of_like_sizes_are_those_of_kmeans(whiten: bool) -> None:
    rows, _ = blobs(50, 60, 70, 80)
    options = {"whiten": whiten, "random_state": 0}
    merged, plain = (
        fit(rows, 4, **options)  # type: ignore[operator]
        for fit in (fit_merged_partition, fit_partition)
    )
    assert merged.center_labels is None
    assert torch.equal(merged.labels, plain.labels)


@pytest.fixture
def partition() -> PrototypePartition:
    rows, _ = blobs(100, 100, 12)
    return merge_clusters(rows, fit_partition(rows, 6, random_state=0), 3)


def test_the_nearest_centre_decides(partition: PrototypePartition) -> None:
    rows, groups = blobs(100, 100, 12)
    assert clustering_scores(groups, partition.labels)["acc"] == 1.0
    assert partition.center_labels is not None and len(partition.centers) == 6
    assert torch.equal(partition.predict(rows), partition.labels)
    unit = torch.nn.functional.normalize(rows, dim=1)
    cosines = unit @ partition.centers.T  # of the cosine, centres have length 1
    own = partition.center_labels == partition.labels.unsqueeze(1)
    nearest = cosines.masked_fill(~own, -1).amax(dim=1)
    torch.testing.assert_close(partition.distance(rows), (2 - 2 * nearest).sqrt())
    best = torch.stack(
        [cosines[:, partition.center_labels == c].amax(dim=1) for c in range(3)], dim=1
    )
    shares = (best / 0.1).softmax(dim=1).amax(dim=1)
    torch.testing.assert_close(partition.confidence(rows), shares)


def test_names_state_and_prototypes(partition: PrototypePartition) -> None:
    rows, groups = blobs(100, 100, 12)
    renamed = partition.renumbered((groups + 1) % 3)
    assert torch.equal(renamed.labels, (groups + 1) % 3)
    assert torch.equal(renamed.predict(rows), renamed.labels)
    for number in range(3):
        own = torch.nn.functional.normalize(rows[renamed.labels == number], dim=1)
        expected = torch.nn.functional.normalize(own.mean(dim=0), dim=0)
        torch.testing.assert_close(renamed.prototypes[number], expected)
    again = PrototypePartition.from_state_dict(renamed.state_dict()).to("cpu")
    assert torch.equal(again.predict(rows), renamed.labels)
    old = fit_partition(rows, 3, random_state=0)
    state = old.state_dict()
    del state["center_labels"]  # of a checkpoint from before there was any
    assert torch.equal(PrototypePartition.from_state_dict(state).labels, old.labels)


def test_links_and_modularity() -> None:
    rows, groups = blobs(100, 100, 12)
    unit = torch.nn.functional.normalize(rows, dim=1)
    links = neighbour_links(unit, groups, 3)
    assert torch.equal(links, links.T) and links.sum() == 2 * 15 * 212
    expected = torch.zeros(3, 3, dtype=torch.float64)
    cosines = (unit @ unit.T).fill_diagonal_(-1)
    for image, row in enumerate(cosines):
        for other in row.argsort(descending=True)[:15].tolist():
            expected[groups[image], groups[other]] += 1
    assert torch.equal(links, expected + expected.T)
    assert modularity(torch.ones(4, 4)) == pytest.approx(0)


def test_bad_numbers() -> None:
    rows, _ = blobs(10, 10)
    finer = fit_partition(rows, 4, random_state=0)
    with pytest.raises(ValueError, match="at most the 4 there are"):
        merge_clusters(rows, finer, 5)
    with pytest.raises(ValueError, match=r"partition\.labels"):
        merge_clusters(rows[1:], finer, 2)
    with pytest.raises(ValueError, match="n_clusters must be at least 2, got 1"):
        fit_merged_partition(rows, 1)


def test_merged_clusters_merge_again() -> None:
    rows, _ = blobs(10, 10)
    finer = merge_clusters(rows, fit_partition(rows, 8, random_state=0), 4)
    coarse = merge_clusters(rows, finer, 2)
    assert coarse.n_clusters == 2 and len(coarse.centers) == 8
    assert torch.equal(coarse.predict(rows), coarse.labels)
    pairs = torch.stack([finer.labels, coarse.labels], dim=1)
    assert len(pairs.unique(dim=0)) == 4
