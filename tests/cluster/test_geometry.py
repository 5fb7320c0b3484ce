"""Label, confidence and distance are of one geometry, whitened or not."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from hadis_lightly.cluster import PrototypePartition, Whitening, fit_partition

K = 10
DIGITS = torch.tensor(load_digits().data[:600], dtype=torch.float32)


def squared_distances(partition: PrototypePartition, X: Tensor) -> Tensor:
    """Squared distances ``(n, k)`` to all centres, per component if whitened."""
    points = X.double() / X.double().norm(dim=1, keepdim=True)
    scale = 1
    if partition.whitening is not None:
        points = points - partition.whitening.mean_.double()
        points = points @ partition.whitening.components_.double()
        scale = points.shape[1]
    exact = "donot_use_mm_for_euclid_dist"
    centers = partition.centers.double()
    return torch.cdist(points, centers, compute_mode=exact).square() / scale


@pytest.mark.parametrize("whiten", [False, True])
def test_the_cluster_of_an_image_is_its_nearest_and_its_surest(whiten: bool) -> None:
    partition = fit_partition(DIGITS, K, n_init=2, random_state=0, whiten=whiten)
    squares = squared_distances(partition, DIGITS)
    assert torch.equal(squares.argmin(dim=1), partition.labels)
    nearest = squares.amin(dim=1).sqrt().float()
    torch.testing.assert_close(partition.distance(DIGITS), nearest)
    for temperature in (0.02, 0.1, 1.0):
        shares = (-squares / (2 * temperature)).softmax(dim=1)
        assert torch.equal(shares.argmax(dim=1), partition.labels)
        confidence = partition.confidence(DIGITS, temperature)
        torch.testing.assert_close(confidence, shares.amax(dim=1).float())
        assert bool((confidence >= 1 / K).all())


def test_lengths_are_one_on_average_in_a_whitened_space() -> None:
    partition = fit_partition(DIGITS, K, n_init=1, random_state=0, whiten=True)
    whitening = partition.whitening
    assert isinstance(whitening, Whitening)
    origin = torch.zeros(1, whitening.n_components_)
    around = PrototypePartition(
        partition.labels, origin, partition.prototypes[:1], whitening
    )
    assert float(around.distance(DIGITS).square().mean()) == pytest.approx(1, rel=1e-4)


def test_confidence_in_a_whitened_space_by_hand() -> None:
    whitening = Whitening.from_state_dict(
        {"mean": torch.zeros(2), "components": torch.diag(torch.tensor([1.0, 3.0]))}
    )
    # The nearest prototype on the sphere is not the nearest centre.
    centers = torch.tensor([[1.0, 0.0], [0.6, 3.0]])
    partition = PrototypePartition(
        torch.tensor([0, 1]), centers, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), whitening
    )
    X = torch.tensor([[0.8, 0.6]])  # whitened: 0.8, 1.8
    squares = torch.tensor([0.04 + 3.24, 0.04 + 1.44]) / 2
    assert int(partition.predict(X)) == 1
    torch.testing.assert_close(partition.distance(X), squares[1:].sqrt())
    share = (-squares / 0.2).softmax(dim=0)[1:]
    torch.testing.assert_close(partition.confidence(X), share)
