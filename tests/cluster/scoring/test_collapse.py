"""Signs of a collapse, and none where all is well."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.cluster import collapse_signs


def clusters(sizes: list[int], noise: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings around the axes, their labels and prototypes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    axes = torch.eye(len(sizes), 16)
    spread = noise * torch.randn(len(labels), 16, generator=generator)
    return F.normalize(axes[labels] + spread, dim=1), labels, axes


def test_nothing_to_say_of_good_clusters() -> None:
    assert collapse_signs(*clusters([30] * 10)) == {}
    # Classes may be uneven, and two clusters hold half of the images each.
    assert collapse_signs(*clusters([140, 60, 60, 60])) == {}
    assert collapse_signs(*clusters([65, 35])) == {}


def test_one_point() -> None:
    embeddings, labels, prototypes = clusters([30] * 4)
    embeddings = F.normalize(embeddings + 20, dim=1)
    signs = collapse_signs(embeddings, labels, F.normalize(prototypes + 20, dim=1))
    assert list(signs) == ["spread"]
    assert "collapsed to a point (spread 0.00" in signs["spread"]


def test_a_cluster_that_swallows_the_set() -> None:
    signs = collapse_signs(*clusters([10, 130, 10, 10]))
    assert signs == {"share": "cluster 1 holds 81% of the images"}
    assert list(collapse_signs(*clusters([95, 5]))) == ["share"]


def test_prototypes_that_coincide() -> None:
    embeddings, labels, prototypes = clusters([30] * 5)
    prototypes[3] = F.normalize(prototypes[1] + 0.02, dim=0)
    signs = collapse_signs(embeddings, labels, prototypes)
    assert list(signs) == ["prototypes"]
    assert signs["prototypes"].startswith("prototypes 1 and 3 coincide (cosine 0.99")


def test_clusters_without_an_image() -> None:
    embeddings, labels, prototypes = clusters([30] * 5)
    labels[labels == 4] = 0
    assert collapse_signs(embeddings, labels, prototypes) == {
        "empty": "1 of 5 clusters are empty"
    }
