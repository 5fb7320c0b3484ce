"""Where k-means over embeddings starts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hadis_lightly.cluster import clustering_scores, partition_embeddings

TARGETS = torch.arange(80) % 4
POINTS = F.normalize(
    4 * torch.eye(4)[TARGETS]
    + 0.2 * torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
)
# Clusters 2 and 3 are one, and 0 is cut in two: a local minimum.
STUCK = torch.where((TARGETS == 0) & (POINTS[:, 1] > 0), 3, TARGETS.clamp(max=2))


@pytest.mark.parametrize("whiten", [False, True])
def test_a_start_is_where_the_search_begins_and_the_only_one(whiten: bool) -> None:
    def accuracy(start: torch.Tensor | None) -> float:
        partition = partition_embeddings(
            POINTS, 4, random_state=0, whiten=whiten, start=start
        )
        return clustering_scores(TARGETS, partition.labels)["acc"]

    assert accuracy(None) == 1.0
    assert accuracy(TARGETS) == 1.0
    assert accuracy(STUCK) < 0.9
    # An empty cluster has no centre to start from: the search is as usual.
    assert accuracy(TARGETS.clamp(max=2)) == 1.0
