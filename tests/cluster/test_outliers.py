"""Isolation: by hand, by its definition, and where it finds what others do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hadis_lightly.cluster import isolation


def test_of_all_others_it_is_the_mean_distance_to_the_nearest() -> None:
    rows = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    unit = rows / rows.norm(dim=1, keepdim=True)
    expected = []
    for i in range(12):
        distances = sorted(
            float((unit[i] - unit[j]).norm()) for j in range(12) if j != i
        )
        expected.append(np.mean(distances[:3]))
    found = isolation(rows, n_neighbors=3, n_samples=12, n_draws=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_few_odd_ones_that_are_alike_do_not_hide_each_other() -> None:
    generator = torch.Generator().manual_seed(1)
    centers = torch.eye(16)[:11]
    labels = torch.arange(1100) % 10
    labels[:15] = 10  # fifteen of a kind of their own
    rows = centers[labels] + 0.1 * torch.randn(1100, 16, generator=generator)
    is_odd = (labels == 10).numpy()
    assert average_precision_score(is_odd, isolation(rows)) > 0.95
    in_the_whole_set = isolation(rows, n_samples=1100, n_draws=1)
    assert average_precision_score(is_odd, in_the_whole_set) < 0.5


@pytest.mark.parametrize("n", [2, 65])
def test_any_number_of_embeddings(n: int) -> None:
    rows = torch.randn(n, 4, generator=torch.Generator().manual_seed(n))
    found = isolation(rows)
    assert found.shape == (n,) and bool(((found >= 0) & (found <= 2)).all())
    assert torch.allclose(found, isolation(rows * 3), atol=1e-6)
    assert torch.allclose(isolation(rows.double()), found, atol=1e-5)


def test_a_single_embedding_has_no_neighbours() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        isolation(torch.ones(1, 3))
