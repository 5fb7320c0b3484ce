"""Partitions around examples: they start there, and keep them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from hadis_lightly.cluster import clustering_scores, fit_named_partition, fit_partition


def digits() -> tuple[Tensor, Tensor]:
    """Pixels of digits, and their classes."""
    pixels, classes = load_digits(return_X_y=True)
    return torch.tensor(pixels - pixels.mean(axis=0)).float(), torch.tensor(classes)


def some_of(classes: Tensor, number: int, names: range, seed: int = 0) -> Tensor:
    """So many examples of each class, of which the first has the name 0."""
    generator = np.random.default_rng(seed)
    examples = torch.full_like(classes, -1)
    for name, target in enumerate(names):
        of_class = np.flatnonzero(classes.numpy() == target)
        examples[generator.choice(of_class, number, replace=False)] = name
    return examples


@pytest.mark.parametrize("whiten", [False, True])
def test_examples_name_the_digits(whiten: bool) -> None:
    rows, classes = digits()
    examples = some_of(classes, 10, range(10))
    partition = fit_named_partition(
        rows, 10, examples, whiten=whiten, cosine_start=whiten, random_state=0
    )
    is_example = examples >= 0
    assert torch.equal(partition.labels[is_example], examples[is_example])
    assert torch.equal(partition.predict(rows), partition.labels)
    assert len(partition.centers) > partition.n_clusters == 10
    rest = ~is_example
    named = float((partition.labels == classes)[rest].float().mean())
    plain = fit_partition(rows, 10, random_state=0, whiten=whiten).labels
    assert named > clustering_scores(classes[rest], plain[rest])["acc"] + 0.08


def test_clusters_without_a_name_are_what_the_names_leave() -> None:
    rows, classes = digits()
    examples = some_of(classes, 5, range(4, 10))
    partition = fit_named_partition(rows, 10, examples, random_state=0)
    is_named = classes >= 4
    right = partition.labels[is_named] == classes[is_named] - 4
    assert float(right.float().mean()) > 0.8
    others = partition.labels[~is_named]
    assert float((others >= 6).float().mean()) > 0.8
    scores = clustering_scores(classes, partition.labels)
    assert scores["acc"] > 0.78


def test_names_keep_their_numbers_and_the_others_those_of_before() -> None:
    rows, classes = digits()
    examples = some_of(classes, 3, range(4))
    first = fit_named_partition(rows, 8, examples, random_state=0)
    turned = torch.where(first.labels < 4, first.labels, 11 - first.labels)
    again = fit_named_partition(rows, 8, examples, previous=turned, random_state=0)
    assert torch.equal(again.labels, turned)
    assert torch.equal(again.predict(rows), again.labels)
    start = fit_named_partition(rows, 8, examples, start=turned)
    assert float((start.labels == turned).float().mean()) > 0.95


def test_equal_embeddings_of_two_names_do_not_hang() -> None:
    rows = torch.eye(4).repeat(2, 1)
    partition = fit_named_partition(rows, 3, [0, -1, -1, -1, 1, 2, -1, -1])
    assert partition.labels[0] == partition.labels[4]
    assert partition.labels.unique().tolist() == [0, 1, 2]


def test_a_cluster_of_nothing_but_an_example_of_a_name_loses_it() -> None:
    # k-means moves all but the last row from the second cluster to the first.
    angles = torch.tensor([0.0, 1, 2, 3, 4, 5, 25, 90]).deg2rad()
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    start = [0, 0, 0, 0, 0, 0, 1, 0]
    plain = fit_partition(rows, 2, start=start)
    assert plain.labels.tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    examples = [0, 0, -1, -1, -1, -1, -1, 0]
    partition = fit_named_partition(rows, 2, examples, start=start)
    assert partition.labels.tolist() == [0] * 8
    assert torch.equal(partition.predict(rows), partition.labels)
    assert torch.isfinite(partition.confidence(rows)).all()
    assert partition.distance(rows)[-1] == 0


@pytest.mark.parametrize(
    "n_clusters, examples",
    [
        (3, [-1, -1, -1, -1]),  # no example
        (3, [0, 2, -1, -1]),  # no name 1
        (4, [0, 0, -1, -1]),  # one embedding for three clusters
        (2, [0, -1, -1, 1]),  # zeros, which have no direction
    ],
)
def test_examples_that_do_not_fit(n_clusters: int, examples: list[int]) -> None:
    rows = torch.eye(4)
    rows[3] = 0
    with pytest.raises(ValueError, match="examples must have each name from 0 on"):
        fit_named_partition(rows, n_clusters, examples)


def test_more_names_than_clusters() -> None:
    with pytest.raises(ValueError, match="examples"):
        fit_named_partition(torch.eye(4), 2, [0, 1, 2, -1])
