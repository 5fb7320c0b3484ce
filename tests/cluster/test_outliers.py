"""Isolation: by hand, by its definition, and where it finds what others do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hadis_lightly.cluster import OutlierDetector, isolation


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


def planted(n: int, d: int, n_odd: int) -> torch.Tensor:
    """Points about ten centres, the first few of them about another one."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(n) % 10
    labels[:n_odd] = 10
    centers = 3 * torch.eye(d)[:11]
    noise = torch.randn(n, d, generator=generator)
    return centers[labels] + 1.5 * noise / d**0.5


@pytest.mark.parametrize("d", [32, 200])
def test_what_is_like_nothing_else_lies_above_the_threshold(d: int) -> None:
    points = planted(1500, d, n_odd=20)
    detector = OutlierDetector.fit(points)
    found = detector.predict(points)
    assert found[:20].all() and found[20:].float().mean() < 0.05
    assert OutlierDetector.fit(points[20:]).predict(points[20:]).float().mean() < 0.05
    assert detector.predict(planted(1500, d, n_odd=0)[:20]).float().mean() < 0.2
    again = OutlierDetector.from_state_dict(detector.state_dict()).to("cpu")
    assert torch.equal(again.isolation(points), detector.isolation(points))


def test_points_of_the_set_do_not_count_as_their_own_neighbours() -> None:
    points = 300 * planted(40, 16, n_odd=2).half()  # whose squares overflow
    detector = OutlierDetector.fit(points, n_samples=40, n_draws=1)
    copies = torch.cat([points, points])
    detector_of_copies = OutlierDetector.fit(copies, n_samples=80, n_draws=1)
    torch.testing.assert_close(
        detector.isolation(points),
        OutlierDetector.fit(points, n_samples=40, n_draws=3).isolation(points),
    )
    assert bool((detector_of_copies.isolation(points) > 30).all())
    equal = torch.ones(9, 4)
    assert not OutlierDetector.fit(equal).predict(equal).any()
