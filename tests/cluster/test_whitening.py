"""Whitened rows are white, and the number of components is that of the data."""

from __future__ import annotations

import pytest
import torch
from sklearn.exceptions import NotFittedError

from hadis_lightly.cluster import Whitening, whitening
from tests.cluster.generated import normal


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whitened_rows_are_white(dtype: torch.dtype) -> None:
    scales = torch.tensor([100.0, 10.0, 1.0, 0.1], dtype=dtype)
    X = normal(300, 4, dtype, 0) * scales + 7
    white = Whitening(min_components=3).fit(X)
    points = white.transform(X)
    assert points.shape == (300, 3) and points.dtype == dtype
    close = {"rtol": 0, "atol": 1e-3 if dtype == torch.float32 else 1e-9}
    torch.testing.assert_close(points.mean(0), torch.zeros(3, dtype=dtype), **close)
    covariance = points.T @ points / 300
    torch.testing.assert_close(covariance, torch.eye(3, dtype=dtype), **close)
    restored = Whitening.from_state_dict(white.state_dict())
    assert torch.equal(restored.transform(X), points)


def test_components_are_as_many_as_the_data_have() -> None:
    ball = normal(5000, 6, torch.float64, 1)
    assert Whitening().fit(ball).n_components_ == 6
    line = ball[:, :1] * torch.ones(6) + 1e-3 * ball
    assert Whitening().fit(line).n_components_ == 1
    assert Whitening(min_components=4).fit(line).n_components_ == 4
    plane = ball[:, :2] @ normal(2, 6, torch.float64, 2)
    assert Whitening(min_components=4).fit(plane).n_components_ == 2


def test_wrong_input_is_named() -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        Whitening().transform(torch.eye(3))
    with pytest.raises(ValueError, match="min_components must be at least 1, got 0"):
        Whitening(0).fit(torch.eye(3))
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
