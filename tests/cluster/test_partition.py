"""Where k-means over embeddings starts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hadis_lightly.cluster import (
    Partition,
    Whitening,
    clustering_scores,
    fit_partition,
)

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
        partition = fit_partition(POINTS, 4, random_state=0, whiten=whiten, start=start)
        return clustering_scores(TARGETS, partition.labels)["acc"]

    assert accuracy(None) == 1.0
    assert accuracy(TARGETS) == 1.0
    assert accuracy(STUCK) < 0.9
    # An empty cluster has no centre to start from: the search is as usual.
    assert accuracy(TARGETS.clamp(max=2)) == 1.0


@pytest.mark.parametrize("whiten", [False, True])
def test_a_batch_is_labelled_without_a_look_at_values(whiten: bool) -> None:
    """Tensors without values refuse to be looked at, as a training step must not."""
    with torch.device("meta"):
        whitening = None
        if whiten:
            state = {"mean": torch.empty(16), "components": torch.empty(16, 5)}
            whitening = Whitening.from_state_dict(state)
        partition = Partition(
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
