"""Each loss against a plain double loop written from its equation in the paper."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor

from hadis_lightly.loss import DSALoss, HaDisLoss, HSDLoss, PCLLoss


def unit(row: Tensor) -> Tensor:
    return row / math.sqrt(sum(float(v) ** 2 for v in row))


def distance(a: Tensor, b: Tensor) -> float:
    return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


def dsa_by_loop(p: Tensor, t: Tensor) -> float:
    n = len(p)
    return sum(distance(unit(p[i]), unit(t[i])) ** 2 for i in range(n)) / n


def hsd_by_loop(p: Tensor, t: Tensor, temperature: float) -> float:
    n, total = len(p), 0.0
    p = torch.stack([unit(row) for row in p])
    t = torch.stack([unit(row) for row in t])
    for i in range(n):
        boundary = distance(t[i], p[i])
        hardest_positive, hardest_negative = (-1.0, 0.0), (math.inf, 0.0)
        for j in range(n):
            pair = (distance(t[i], p[j]), distance(t[i], t[j]))  # D_ij, A_ij
            if pair[1] > boundary:
                hardest_negative = min(hardest_negative, pair, key=lambda x: x[0])
            else:
                hardest_positive = max(hardest_positive, pair, key=lambda x: x[0])
        d, a = hardest_positive
        positive = max(0.0, d - a) * d
        d, a = hardest_negative
        negative = 0.0 if d == math.inf else max(0.0, a - d) * d
        total += math.log(1 + math.exp((positive - negative) / temperature))
    return total / n


def pcl_by_loop(z: Tensor, t: Tensor, labels: Tensor, temperature: float) -> float:
    z = torch.stack([unit(row) for row in z])
    t = torch.stack([unit(row) for row in t])
    present = sorted(set(labels.tolist()))
    mu = {k: unit(z[labels == k].mean(0)) for k in present}
    mu_teacher = {k: unit(t[labels == k].mean(0)) for k in present}
    total = 0.0
    for k in present:
        positive = math.exp(float(mu[k] @ mu_teacher[k]) / temperature)
        others = [j for j in present if j != k]
        negative = sum(math.exp(float(mu[k] @ mu[j]) / temperature) for j in others)
        total -= math.log(positive / (positive + negative))
    return total / len(present)


def batch(n: int, d: int, seed: int, spread: float = 0.5) -> tuple[Tensor, ...]:
    """Student, prediction and teacher that agree about as much as in training."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.randn(n, d, generator=generator, dtype=torch.float64)
    p = t + spread * torch.randn(n, d, generator=generator, dtype=torch.float64)
    z = t + spread * torch.randn(n, d, generator=generator, dtype=torch.float64)
    return z, p, t


@pytest.mark.parametrize(("n", "d"), [(1, 3), (7, 4), (32, 16)])
def test_dsa(n: int, d: int) -> None:
    _, p, t = batch(n, d, seed=0)
    assert DSALoss()(p, t).item() == pytest.approx(dsa_by_loop(p, t), rel=1e-12)
    cosine = torch.nn.functional.cosine_similarity(p, t).mean().item()
    assert DSALoss()(p, t).item() == pytest.approx(2 - 2 * cosine, rel=1e-9)
    byol = 2 * NegativeCosineSimilarity()(p, t) + 2
    torch.testing.assert_close(DSALoss()(p, t), byol)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0])
@pytest.mark.parametrize(("n", "d"), [(1, 3), (7, 4), (16, 8)])
def test_hsd(n: int, d: int, spread: float, temperature: float) -> None:
    for seed in range(2):
        _, p, t = batch(n, d, seed, spread)
        expected = hsd_by_loop(p, t, temperature)
        loss = HSDLoss(temperature=temperature)(p, t).item()
        assert loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_clusters", [2, 5, 31, 32, 33, 1000])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_pcl(n_clusters: int, temperature: float) -> None:
    z, _, t = batch(32, 16, seed=0)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(n_clusters, (32,), generator=generator)
    expected = pcl_by_loop(z, t, labels, temperature)
    loss = PCLLoss(n_clusters, temperature=temperature)(z, t, labels).item()
    assert loss == pytest.approx(expected, rel=1e-10)
    renumbered = torch.randperm(n_clusters, generator=generator)[labels]
    loss = PCLLoss(n_clusters, temperature=temperature)(z, t, renumbered).item()
    assert loss == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("weights", [(1.0, 0.1), (0.0, 0.1), (0.0, 0.0), (2.0, 0.05)])
def test_sum(weights: tuple[float, float]) -> None:
    hsd_weight, pcl_weight = weights
    z, p, t = batch(16, 8, seed=0)
    labels = torch.arange(16) % 3
    criterion = HaDisLoss(
        4,
        hsd_weight=hsd_weight,
        pcl_weight=pcl_weight,
        hsd_temperature=0.3,
        pcl_temperature=0.7,
    )
    terms = criterion(student=z, prediction=p, teacher=t, labels=labels)
    dsa, hsd = dsa_by_loop(p, t), hsd_by_loop(p, t, 0.3)
    pcl = pcl_by_loop(z, t, labels, 0.7)
    expected = dsa + hsd_weight * hsd + pcl_weight * pcl
    assert terms.loss.item() == pytest.approx(expected, rel=1e-10)
    assert terms.dsa.item() == pytest.approx(dsa, rel=1e-10)
    assert terms.hsd.item() == pytest.approx(hsd if hsd_weight else 0, rel=1e-10)
    assert terms.pcl.item() == pytest.approx(pcl if pcl_weight else 0, rel=1e-10)


def test_no_labels_leaves_pcl_out() -> None:
    z, p, t = batch(16, 8, seed=0)
    terms = HaDisLoss(4)(student=z, prediction=p, teacher=t)
    assert terms.pcl.item() == 0
    assert terms.loss.item() == pytest.approx(dsa_by_loop(p, t) + terms.hsd.item())
