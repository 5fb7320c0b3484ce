"""The tree over clusters: links by hand, nested levels, both kinds of clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hadis_lightly.cluster import (
    ClusterTree,
    HeadPartition,
    fit_partition,
    fit_tree,
)


def six_groups(n: int = 30, spread: float = 0.25) -> tuple[Tensor, Tensor]:
    """Embeddings of six groups in three pairs; (0, 1), (2, 3), (4, 5) are near."""
    generator = torch.Generator().manual_seed(0)
    middles = torch.eye(12)[:6]
    middles[1::2] = torch.nn.functional.normalize(middles[::2] * 2 + middles[1::2])
    labels = torch.arange(6).repeat_interleave(n)
    noise = spread * torch.randn(6 * n, 12, generator=generator) / 12**0.5
    return middles[labels] + 2 * noise, labels


def head_partition(rows: Tensor, labels: Tensor, k: int) -> HeadPartition:
    return HeadPartition.of(rows, torch.nn.functional.one_hot(labels, k).float())


def test_near_clusters_join_first_and_links_are_multiples_of_chance() -> None:
    rows, labels = six_groups()
    tree = fit_tree(head_partition(rows, labels, 6), rows)
    assert {frozenset(pair) for pair in tree.merges[:3].tolist()} == {
        frozenset(pair) for pair in ((0, 1), (2, 3), (4, 5))
    }
    assert bool((tree.links[:-1] >= tree.links[1:]).all())
    unit = torch.nn.functional.normalize(rows, dim=1)
    cosines = (unit @ unit.T).fill_diagonal_(-2)
    near = cosines.topk(10, dim=1).indices
    first, second = tree.merges[0].tolist()
    crossing = (labels[near[labels == first]] == second).sum()
    crossing += (labels[near[labels == second]] == first).sum()
    # By chance each of 30 images has 10 neighbours, of which a sixth lie there.
    assert float(tree.links[0]) == pytest.approx(int(crossing) / 2 / 50, abs=1e-5)


def test_levels_are_nested_and_numbered_by_their_smallest_member() -> None:
    rows, labels = six_groups()
    tree = fit_tree(head_partition(rows, labels, 6), rows)
    assert tree.levels == (3, 6, 12)
    assert tree.groups(3).tolist() == [0, 0, 1, 1, 2, 2]
    assert tree.groups(6).tolist() == list(range(6))
    assert tree.groups(1).tolist() == [0] * 6
    coarse, own, fine = (tree.assign(labels, rows, level) for level in (1, 2, 3))
    assert torch.equal(own, labels) and torch.equal(fine // 2, own)
    assert torch.equal(coarse, tree.groups(3)[own])
    assert len(fine.unique()) == 12
    # Images by themselves get what they get among others, also of another length.
    assert torch.equal(tree.assign(labels[7:8], 3 * rows[7:8], 3), fine[7:8])


def test_a_split_parts_what_a_cluster_had_put_together() -> None:
    rows, labels = six_groups(spread=0.1)
    joined = labels // 2
    tree = fit_tree(head_partition(rows, joined, 3), rows)
    fine = tree.assign(joined, rows, len(tree.levels))
    for group in range(6):
        assert len(fine[labels == group].unique()) == 1
    assert len(fine.unique()) == 6


def test_the_same_by_kmeans_and_again_from_its_state() -> None:
    rows, _ = six_groups()
    partition = fit_partition(rows, 6, whiten=True, random_state=0)
    tree = fit_tree(partition, rows)
    again = ClusterTree.from_state_dict(fit_tree(partition, rows).state_dict())
    for level in range(1, len(tree.levels) + 1):
        found = tree.assign(partition.labels, rows, level)
        assert torch.equal(found, again.assign(partition.labels, rows, level))
    assert again.describe() == tree.describe()


@pytest.mark.parametrize("k", [2, 3, 4, 37])
def test_any_number_of_clusters_even_empty_and_tiny_ones(k: int) -> None:
    rng = np.random.default_rng(k)
    rows = torch.from_numpy(rng.normal(size=(60, 5))).float()
    rows[0] = 0
    rows[20:40] = rows[20]
    labels = torch.arange(60) % k
    labels[labels == 1] = 0
    labels[59] = k - 1
    labels[20:40] = k - 1
    tree = fit_tree(head_partition(rows, labels, k), rows)
    assert tree.levels[-2:] == (k, 2 * k) and tree.levels[0] <= 3
    assert tree.merges.shape == (k - 1, 2)
    for level, count in enumerate(tree.levels, 1):
        found = tree.assign(labels, rows, level)
        assert int(found.min()) >= 0 and int(found.max()) < count


def test_levels_that_do_not_exist_are_refused_by_name() -> None:
    rows, labels = six_groups()
    tree = fit_tree(head_partition(rows, labels, 6), rows)
    for level in (0, 4):
        with pytest.raises(ValueError, match=r"1 \(3 clusters\), 2 \(6 clusters\), 3"):
            tree.assign(labels, rows, level)
    with pytest.raises(ValueError, match="at most the 6 clusters"):
        tree.groups(7)
    with pytest.raises(ValueError, match="one row per label"):
        fit_tree(head_partition(rows, labels, 6), rows[1:])
