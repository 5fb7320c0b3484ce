"""The coding rate: its definition, and that it holds embeddings apart."""

from __future__ import annotations

import pytest
import torch
from lightly.loss.emp_ssl_loss import tcr_loss
from torch import nn
from torch.nn import functional as F

from hadis_lightly.loss import CodingRateLoss


def rows(n: int, d: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, d, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("n", "d"), [(40, 6), (6, 40), (8, 8), (1, 5)])
def test_it_is_half_the_log_determinant(n: int, d: int) -> None:
    z = F.normalize(rows(n, d), dim=1)
    matrix = torch.eye(d) + d / (n * 0.2) * z.T @ z
    expected = 0.5 * torch.linalg.eigvalsh(matrix).log().sum().item()
    assert CodingRateLoss()(3 * z).item() == pytest.approx(-expected)
    # lightly has it without the sign, of rows that are normalised already.
    lightly_rate = float(tcr_loss(z.float().unsqueeze(0), eps=0.2))
    assert CodingRateLoss()(z.float()).item() == pytest.approx(-lightly_rate, rel=1e-5)


def test_a_collapse_costs_most() -> None:
    criterion, z = CodingRateLoss(), rows(64, 16)
    on_a_line = z[:, :1] * rows(1, 16)
    one_point = rows(1, 16).expand(64, 16)
    assert criterion(z) < criterion(z.abs()) < criterion(on_a_line)
    torch.testing.assert_close(criterion(on_a_line), criterion(one_point))


def test_with_invariance_alone_a_linear_encoder_collapses() -> None:
    """And with the coding rate it does not, however long it learns."""
    x = rows(64, 8, torch.float32)
    left = {}
    for weight in (0.0, 0.1):
        torch.manual_seed(0)
        encoder = nn.Linear(8, 8)
        optimizer = torch.optim.SGD(encoder.parameters(), lr=0.5)
        for _ in range(400):
            views = [encoder(x + 0.5 * torch.randn_like(x)) for _ in range(2)]
            apart = 1 - F.cosine_similarity(*views).mean()
            rates = [CodingRateLoss()(view) for view in views]
            loss = apart + weight * (rates[0] + rates[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        spectrum = torch.linalg.svdvals(F.normalize(encoder(x).detach(), dim=1))
        left[weight] = float(spectrum[1] / spectrum[0])
    assert left[0.0] < 0.01 < 0.6 < left[0.1]


def test_gradients_are_finite_for_rows_that_are_alike_or_zero() -> None:
    for z in (torch.ones(6, 4), torch.zeros(6, 4), torch.eye(4)):
        z.requires_grad_()
        CodingRateLoss()(z.half()).backward()
        assert z.grad is not None and torch.isfinite(z.grad).all()


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="distortion must be > 0, got 0"):
        CodingRateLoss(distortion=0)
    with pytest.raises(ValueError, match=r"embeddings must have shape \(n, d\)"):
        CodingRateLoss()(torch.zeros(2, 3, 4))
