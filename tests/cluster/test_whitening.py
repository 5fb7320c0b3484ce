"""Strong components end with equal variance, weak ones with less."""

from __future__ import annotations

import pytest
import torch
from sklearn.exceptions import NotFittedError

from hadis_lightly.cluster import (
    Whitening,
    clustering_scores,
    fit_partition,
    whitening,
)
from tests.cluster.generated import normal


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_covariance_shrunk_half_way_to_the_identity_is_whitened(
    dtype: torch.dtype,
) -> None:
    scales = torch.tensor([10.0, 3.0, 1.0, 0.0], dtype=dtype)  # one has no variance
    X = normal(300, 4, dtype, 0) * scales + 7
    white = Whitening().fit(X)
    points = white.transform(X)
    assert points.shape == (300, 4) and points.dtype == dtype
    close = {"rtol": 0, "atol": 1e-4 if dtype == torch.float32 else 1e-9}
    torch.testing.assert_close(points.mean(0), torch.zeros(4, dtype=dtype), **close)
    covariance = points.T @ points / 300
    variances = torch.linalg.eigvalsh(X.T.double().cov(correction=0)).flip(0)
    shares = variances / (variances + variances.mean())
    expected = torch.diag(4 * shares / shares.sum()).to(dtype)
    torch.testing.assert_close(covariance, expected, **close)
    assert float(covariance.trace()) == pytest.approx(4)
    restored = Whitening.from_state_dict(white.state_dict())
    assert torch.equal(restored.transform(X), points)


def test_clusters_in_a_direction_of_little_variance_are_found() -> None:
    """Two directions without clusters vary more than one of the two that have them."""
    targets = torch.arange(800) % 4
    X = normal(800, 5, torch.float32, 3) * torch.tensor([0.1, 0.1, 0.7, 0.7, 0])
    X += torch.stack([targets // 2 * 4, targets % 2 * 1.2], 1) @ torch.eye(2, 5)
    X[:, 4] = 20  # far from the origin: as good as flat when normalised
    partition = fit_partition(X, 4, n_init=10, random_state=0, whiten=True)
    assert clustering_scores(targets, partition.labels)["acc"] > 0.99


def test_wrong_input_is_named() -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        Whitening().transform(torch.eye(3))
    with pytest.raises(ValueError, match="X has no variance: all 4 rows are equal"):
        Whitening().fit(torch.full((4, 3), 0.1))
    with pytest.raises(ValueError, match=r"n >= 2, got \(1, 3\)"):
        Whitening().fit(torch.eye(3)[:1])
    with pytest.raises(ValueError, match=r"X must have 3 columns.*\(2, 2\)"):
        Whitening().fit(torch.eye(3)).transform(torch.eye(2))


def test_without_float64_on_the_device_it_is_computed_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X = normal(300, 4, torch.float32, 0) + 1000
    usual = Whitening().fit(X)
    monkeypatch.setattr(whitening, "accurate_dtype", lambda device: torch.float32)
    assert torch.equal(Whitening().fit(X).components_, usual.components_)
