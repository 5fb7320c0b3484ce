"""The stages of a fit, each by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hadis_lightly.cluster.lloyd.arrays import directions, unit_rows
from hadis_lightly.cluster.lloyd.assign import nearest_center
from hadis_lightly.cluster.lloyd.empty import fill_empty
from hadis_lightly.cluster.lloyd.iterate import lloyd
from hadis_lightly.cluster.lloyd.refinement import refine
from hadis_lightly.cluster.lloyd.seeding import kmeans_plusplus
from tests.cluster.generated import mixture


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_lloyd_and_the_refinement_agree(metric: str) -> None:
    rows = mixture(3000, 6, 9, spread=1.5).double()
    rows = F.normalize(rows, dim=1) if metric == "cosine" else rows - rows.mean(0)
    starts = torch.stack([rows[:9], rows[9:18]])
    runs = lloyd(rows, starts, metric=metric, max_iter=300, tol=0)
    for start, centers in zip(starts, runs.centers, strict=True):
        refined, _ = refine(rows, start, metric=metric, max_iter=300, tol=0)
        torch.testing.assert_close(refined, centers)


def test_restarts_of_tight_clusters_are_told_apart() -> None:
    """An inertia of 1e-10 of the squares, which no float32 sum of scores resolves."""
    rows = torch.eye(8).repeat(40, 1) + 1e-5 * mixture(320, 8, 40)
    rows = rows - rows.mean(0)
    generator = torch.Generator().manual_seed(0)
    starts = kmeans_plusplus(rows, 16, 8, generator=generator)
    runs = lloyd(rows, starts, metric="euclidean", max_iter=300, tol=0)
    for inertia, centers in zip(runs.inertia, runs.centers, strict=True):
        squares = torch.cdist(rows.double(), centers.double()).amin(1).square().sum()
        torch.testing.assert_close(inertia, squares, rtol=1e-3, atol=0)


def test_a_tie_goes_to_the_lower_label_and_a_row_to_its_equal() -> None:
    rows = torch.tensor([[0.0], [1.0], [2.0], [1000.0], [1000.0001]])
    centers = torch.tensor([[2.0], [0.0], [1000.0001], [1000.0]])
    labels, lead = nearest_center(rows, centers, metric="euclidean")
    assert labels.tolist() == [1, 0, 0, 3, 2]
    assert lead[:3].tolist() == [2.0, 0.0, 2.0]


def test_empty_clusters_take_the_farthest_rows_and_what_is_near() -> None:
    rows = torch.tensor([[0.0], [1.0], [9.0], [9.0], [-5.0]])
    centers, labels = torch.zeros(3, 1), torch.zeros(5, dtype=torch.long)
    filled = fill_empty(rows, centers, labels, metric="euclidean")
    assert filled is not None
    assert filled.taken == {1: 2, 2: 4}
    assert filled.centers.flatten().tolist() == [0.0, 9.0, -5.0]
    assert filled.labels.tolist() == [0, 0, 1, 1, 2]
    again = fill_empty(rows, filled.centers, filled.labels, metric="euclidean")
    assert again is None


def test_rows_of_length_one() -> None:
    """With and without a look at the values; also where squares vanish or overflow."""
    X = torch.tensor([[3.0, 4.0], [3e-30, 4e-30], [3e18, 4e18]])
    expected = torch.tensor([[0.6, 0.8]]).expand(3, 2)
    torch.testing.assert_close(directions(X), expected)
    torch.testing.assert_close(unit_rows(X, name="X"), expected)
    assert torch.equal(directions(torch.zeros(1, 2)), torch.zeros(1, 2))
    for wrong in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"X has 1 rows .* the first is row 1"):
            unit_rows(torch.tensor([[1.0, 0.0], [wrong, 0.0]]), name="X")
