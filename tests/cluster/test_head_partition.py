"""Clusters by a cluster head: labels, prototypes, confidence and distance."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.cluster import HeadPartition, collapse_signs, label_free_scores

N, D, K = 60, 5, 4


def outputs() -> tuple[Tensor, Tensor]:
    """Embeddings and probabilities that have nothing to do with each other."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(N, D, generator=generator, dtype=torch.float64)
    logits = 2 * torch.randn(N, K, generator=generator, dtype=torch.float64)
    return F.normalize(embeddings, dim=1).float(), logits.softmax(dim=1).float()


def one_cluster() -> tuple[Tensor, Tensor]:
    """All images in cluster 2 of 4."""
    embeddings, probabilities = outputs()
    probabilities[:, 2] += 1
    return embeddings, probabilities / probabilities.sum(dim=1, keepdim=True)


def test_labels_and_prototypes_are_what_a_loop_finds() -> None:
    embeddings, probabilities = outputs()
    partition = HeadPartition.of(embeddings, probabilities)
    for i, row in enumerate(probabilities.tolist()):
        assert int(partition.labels[i]) == row.index(max(row))
    assert partition.n_clusters == K
    for cluster in range(K):
        rows = [embeddings[i] for i in range(N) if int(partition.labels[i]) == cluster]
        mean = F.normalize(torch.stack(rows).double().mean(dim=0), dim=0).float()
        torch.testing.assert_close(partition.prototypes[cluster], mean)


def test_confidence_is_the_probability_of_the_predicted_cluster() -> None:
    embeddings, probabilities = outputs()
    partition = HeadPartition.of(embeddings, probabilities)
    assert torch.equal(partition.predict(embeddings, probabilities), partition.labels)
    own = probabilities[torch.arange(N), partition.labels]
    assert torch.equal(partition.confidence(embeddings, probabilities), own)


def test_distance_is_that_to_the_prototype_of_the_cluster() -> None:
    embeddings, probabilities = outputs()
    partition = HeadPartition.of(embeddings, probabilities)
    # Also of embeddings of another length, and of another cluster than the nearest.
    found = partition.distance(3 * embeddings, probabilities)
    for i in range(N):
        own = partition.prototypes[int(partition.labels[i])]
        torch.testing.assert_close(found[i], (embeddings[i] - own).norm())
    ends = torch.tensor([[1.0, 0], [-1.0, 0], [1.0, 0], [1.0, 0]])
    sure = torch.tensor([[0.9, 0.1]] * 4)
    far = HeadPartition.of(ends, sure).distance(ends, sure)
    torch.testing.assert_close(far, torch.tensor([0.0, 2.0, 0.0, 0.0]))


def test_an_empty_cluster_has_its_likeliest_image_as_prototype() -> None:
    embeddings, probabilities = one_cluster()
    partition = HeadPartition.of(embeddings, probabilities)
    assert partition.labels.tolist() == [2] * N
    for cluster in (0, 1, 3):
        likeliest = int(probabilities[:, cluster].argmax())
        assert torch.equal(partition.prototypes[cluster], embeddings[likeliest])


@pytest.mark.parametrize("remainder", [0.0, 1e-9])
def test_embeddings_that_cancel_out_leave_no_direction(remainder: float) -> None:
    """Nor does what rounding leaves of them."""
    pair = torch.tensor([[1.0, 0, 0], [-1.0 + remainder, remainder, 0]])
    embeddings = torch.cat([pair.double(), torch.eye(3, dtype=torch.float64)])
    probabilities = torch.tensor([[0.6, 0.4], [0.7, 0.3], *[[0.2, 0.8]] * 3]).double()
    partition = HeadPartition.of(embeddings, probabilities)
    assert torch.equal(partition.prototypes[0], embeddings[1])
    mean = torch.full((3,), 3**-0.5, dtype=torch.float64)
    torch.testing.assert_close(partition.prototypes[1], mean)


def test_a_state_dict_brings_it_back_and_it_moves_as_a_whole() -> None:
    partition = HeadPartition.of(*outputs())
    restored = HeadPartition.from_state_dict(partition.state_dict())
    assert torch.equal(restored.labels, partition.labels)
    assert torch.equal(restored.prototypes, partition.prototypes)
    moved = partition.to("meta")
    assert {value.device.type for value in moved.state_dict().values()} == {"meta"}


def test_a_batch_is_labelled_without_a_look_at_values() -> None:
    """Tensors without values refuse to be looked at, as a training step must not."""
    with torch.device("meta"):
        partition = HeadPartition(torch.empty(8).long(), torch.empty(K, D))
        batch = torch.empty(32, D), torch.empty(32, K)
        assert partition.predict(*batch).shape == (32,)
        assert partition.confidence(*batch).shape == (32,)
        assert partition.distance(*batch).shape == (32,)


def test_embeddings_and_probabilities_must_be_of_the_same_images() -> None:
    embeddings, probabilities = outputs()
    for n, m in ((3, 2), (0, 0)):
        with pytest.raises(ValueError, match=f"at least 1, got {n} and {m}"):
            HeadPartition.of(embeddings[:n], probabilities[:m])


def test_scores_and_signs_of_a_set_that_is_all_in_one_cluster() -> None:
    embeddings, probabilities = one_cluster()
    partition = HeadPartition.of(embeddings, probabilities)
    scores = label_free_scores(embeddings, partition.labels, partition.prototypes)
    assert math.isnan(scores["silhouette"])
    assert scores["size_max"] == N and scores["size_min"] == scores["size_entropy"] == 0
    assert -1 <= scores["prototype_cosine"] <= 1
    signs = collapse_signs(embeddings, partition.labels, partition.prototypes)
    assert signs["share"] == "cluster 2 holds 100% of the images"
    assert signs["empty"] == f"{K - 1} of {K} clusters are empty"
