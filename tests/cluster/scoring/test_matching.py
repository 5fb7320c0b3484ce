"""Matching of many clusters: exact, and in little time and memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hadis_lightly.cluster import (
    PrototypePartition,
    clustering_scores,
    match_clusters,
)
from hadis_lightly.cluster.scoring.matching import DENSE_ELEMENTS, best_matching

PAIRS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60
)


@given(PAIRS)
def test_large_tables_are_matched_as_well_as_small_ones(
    pairs: list[tuple[int, int]],
) -> None:
    classes, clusters = np.array(pairs).T
    _, expected = best_matching(classes, clusters)
    far = DENSE_ELEMENTS  # numbers so large that no dense table is made
    matching, n_matched = best_matching(classes * far + far, clusters * far)
    assert n_matched == expected
    assert len(set(matching.values())) == len(matching)
    own = np.array([matching.get(c * far, -1) for c in clusters])
    assert int((own == classes * far + far).sum()) == expected
    # Pairs of the matching share a sample.
    pairs_far = zip(clusters * far, classes * far + far, strict=True)
    assert set(matching.items()) <= {(int(c), int(t)) for c, t in pairs_far}


def many_clusters(k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels, another name of each cluster, and labels before: a tenth differs."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3 * k) % k
    names = torch.randperm(k, generator=generator)
    moved = torch.rand(3 * k, generator=generator) < 0.1
    before = torch.where(moved, names[labels.roll(1)], names[labels])
    return labels, names, before


def test_ten_thousand_clusters_keep_their_numbers_without_a_square_table() -> None:
    k = 10_000
    labels, names, before = many_clusters(k)
    centers = torch.arange(2.0 * k).view(k, 2)
    partition = PrototypePartition(labels, centers, centers)
    tracemalloc.start()
    try:
        kept = partition.renumbered(before)
        scores = clustering_scores(before, labels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < k * k / 2  # bytes, far below any table of all pairs
    stayed = kept.labels == names[labels]
    assert float(stayed.float().mean()) > 0.98
    assert torch.equal(kept.labels.sort().values, labels.sort().values)
    moved_centers = kept.centers[kept.labels]
    assert torch.equal(moved_centers, centers[labels])
    assert scores["acc"] == int((kept.labels == before).sum()) / len(labels)


def test_clusters_that_did_not_change_keep_their_numbers_whatever_others_do() -> None:
    k = 5_000
    labels = torch.arange(2 * k) % k
    names = torch.randperm(k, generator=torch.Generator().manual_seed(1))
    before = names[labels]
    changed = labels < 100
    before[changed] = names[99 - labels[changed]]  # others' ids are taken as they come
    before[: k // 2][changed[: k // 2]] = -1
    centers = torch.ones(k, 2)
    kept = PrototypePartition(labels, centers, centers).renumbered(before)
    assert torch.equal(kept.labels[~changed], before[~changed])


def test_the_confusion_matrix_keeps_all_samples_of_many_clusters() -> None:
    labels, _, before = many_clusters(2_100)
    matching, table = match_clusters(before, labels)
    assert 2_050 < len(matching) <= 2_100
    assert int(table.sum()) == len(labels)
    share = clustering_scores(before, labels)["acc"]
    assert int(np.trace(table)) / len(labels) == share
