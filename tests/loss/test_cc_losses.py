"""Losses of Contrastive Clustering: by their equations, and what must always hold."""

from __future__ import annotations

import math
import re
from itertools import product

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from hadis_lightly.loss import CCLoss, ClusterContrastiveLoss
from hadis_lightly.loss.nt_xent import nt_xent_loss

CONTRAST = ClusterContrastiveLoss()


def cosine(a: list[float], b: list[float]) -> float:
    length = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    inner = sum(v * w for v, w in zip(a, b, strict=True))
    return inner / length if length > 0 else 0.0


def nt_xent_by_loop(x0: Tensor, x1: Tensor, temperature: float) -> float:
    n, rows, total = len(x0), [*x0.tolist(), *x1.tolist()], 0.0
    for i in range(2 * n):
        partner = i + n if i < n else i - n
        denominator = sum(
            math.exp(cosine(rows[i], rows[j]) / temperature)
            for j in range(2 * n)
            if j != i
        )
        positive = math.exp(cosine(rows[i], rows[partner]) / temperature)
        total -= math.log(positive / denominator)
    return total / (2 * n)


def entropy_by_loop(a: Tensor) -> float:
    n, k = a.shape
    sizes = [sum(float(a[i, j]) for i in range(n)) / n for j in range(k)]
    return -sum(p * math.log(p) for p in sizes if p > 0)


def cluster_by_loop(a0: Tensor, a1: Tensor, temperature: float) -> float:
    contrast = nt_xent_by_loop(a0.T, a1.T, temperature)
    return contrast - entropy_by_loop(a0) - entropy_by_loop(a1)


def soft(n: int, k: int, seed: int, sharpness: float = 2.0) -> tuple[Tensor, Tensor]:
    """Assignments of two views that agree about as much as in training."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, k, generator=generator, dtype=torch.float64)
    other = logits + torch.randn(n, k, generator=generator, dtype=torch.float64) / 2
    return (sharpness * logits).softmax(1), (sharpness * other).softmax(1)


def rows(n: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    return x[0], x[0] + x[1] / 2


def named(x: tuple[Tensor, Tensor], a: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    names = ("instance0", "instance1", "assignments0", "assignments1")
    return dict(zip(names, (*x, *a), strict=True))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize(("n", "k"), [(1, 2), (7, 4), (24, 10)])
def test_cluster_loss(n: int, k: int, temperature: float) -> None:
    a0, a1 = soft(n, k, seed=0)
    loss = ClusterContrastiveLoss(k, temperature=temperature)(a0, a1)
    expected = cluster_by_loop(a0, a1, temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize(("n", "d"), [(1, 3), (7, 4), (16, 8)])
def test_instance_loss(n: int, d: int, temperature: float) -> None:
    x0, x1 = rows(n, d, seed=0)
    loss = nt_xent_loss(x0, x1, temperature)
    expected = nt_xent_by_loop(x0, x1, temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_instance_loss_is_lightlys(temperature: float) -> None:
    x0, x1 = (x.requires_grad_() for x in rows(9, 5, seed=0))
    ours = nt_xent_loss(x0, x1, temperature)
    lightlys = NTXentLoss(temperature=temperature)(x0, x1)
    torch.testing.assert_close(ours, lightlys)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (x0, x1)), torch.autograd.grad(lightlys, (x0, x1))
    )


def test_lightlys_depends_on_values_where_ours_does_not() -> None:
    """The reason for an instance loss of our own."""
    with FakeTensorMode():
        x = torch.randn(4, 3)
        with pytest.raises(DynamicOutputShapeException):
            NTXentLoss()(x, x)
        a = torch.rand(4, 5).softmax(1)
        terms = CCLoss(5)(**named((x, x), (a, a)), weights=torch.ones(4))
    assert terms.loss.shape == ()


def test_sum() -> None:
    x, a = rows(12, 6, seed=0), soft(12, 5, seed=1)
    criterion = CCLoss(5, instance_temperature=0.3, cluster_temperature=0.7)
    terms = criterion(**named(x, a))
    instance, cluster = nt_xent_by_loop(*x, 0.3), cluster_by_loop(*a, 0.7)
    assert terms.instance.item() == pytest.approx(instance, rel=1e-10)
    assert terms.cluster.item() == pytest.approx(cluster, rel=1e-10)
    assert terms.loss.item() == pytest.approx(instance + cluster, rel=1e-10)
    papers = CCLoss(5)(**named(x, a))
    assert papers.instance.item() == pytest.approx(nt_xent_by_loop(*x, 0.5))
    assert papers.cluster.item() == pytest.approx(cluster_by_loop(*a, 1.0))


def test_gradcheck() -> None:
    x, a = rows(5, 4, seed=0), soft(5, 3, seed=1)
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5])

    def loss(x0: Tensor, x1: Tensor, a0: Tensor, a1: Tensor) -> Tensor:
        return CCLoss(3)(**named((x0, x1), (a0, a1)), weights=weights).loss

    inputs = tuple(t.requires_grad_() for t in (*x, *a))
    assert torch.autograd.gradcheck(loss, inputs)
    logits = torch.randn(2, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: CONTRAST(*z.softmax(2)), (logits,))


def test_order_of_images_and_clusters_does_not_matter() -> None:
    x, a = rows(9, 4, seed=2), soft(9, 5, seed=3)
    expected = CCLoss(5)(**named(x, a))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(9, generator=generator)
    clusters = torch.randperm(5, generator=generator)
    moved = named(
        (x[0][order], x[1][order]),
        (a[0][order][:, clusters], a[1][order][:, clusters]),
    )
    torch.testing.assert_close(CCLoss(5)(**moved), expected)
    # The views may change places; the clusters of one view alone may not.
    swapped = named((x[1], x[0]), (a[1], a[0]))
    torch.testing.assert_close(CCLoss(5)(**swapped), expected)
    assert CONTRAST(a[0], a[1].roll(1, 1)) > expected.cluster + 0.01


def test_even_and_certain_clusters_are_best() -> None:
    """What the loss asks for: all clusters used, each image in one, views agreeing."""
    k = 4
    certain = torch.eye(k).repeat(5, 1)
    best = math.log1p((2 * k - 2) / math.e) - 2 * math.log(k)
    assert CONTRAST(certain, certain).item() == pytest.approx(best, abs=1e-6)
    uniform = torch.full((5 * k, k), 1 / k)
    collapsed = torch.eye(k)[:1].repeat(5 * k, 1)
    for worse in (uniform, collapsed, *[x.float() for x in soft(20, k, 0)]):
        assert CONTRAST(worse, worse) > best + 0.1


def test_weights_choose_the_images_that_take_part() -> None:
    x, a = rows(8, 4, seed=4), soft(8, 3, seed=5)
    a0, a1 = (t.requires_grad_() for t in a)
    used = torch.tensor([True, False, True, True, False, True, False, True])
    subset = CONTRAST(a0[used], a1[used])
    expected = torch.autograd.grad(subset, (a0, a1))
    for weights in (used, used.long(), used.double(), used.half()):
        loss = CONTRAST(a0, a1, weights)
        torch.testing.assert_close(loss, subset)
        torch.testing.assert_close(torch.autograd.grad(loss, (a0, a1)), expected)
    weights = torch.ones(8, requires_grad=True)
    assert not CONTRAST(a0.detach(), a1.detach(), weights).requires_grad
    terms = CCLoss(3)(**named(x, (a0, a1)), weights=used)
    torch.testing.assert_close(terms.cluster, subset)
    torch.testing.assert_close(terms.instance, nt_xent_loss(*x))


def test_a_weight_counts_like_that_many_images() -> None:
    a0, a1 = soft(4, 3, seed=6)
    weights = torch.tensor([1, 3, 2, 0])
    repeated = torch.arange(4).repeat_interleave(weights)
    expected = CONTRAST(a0[repeated], a1[repeated])
    torch.testing.assert_close(CONTRAST(a0, a1, weights), expected)
    torch.testing.assert_close(CONTRAST(a0, a1, weights * 0.25), expected)
    torch.testing.assert_close(CONTRAST(a0, a1, torch.ones(4)), CONTRAST(a0, a1))
    assert CONTRAST(a0, a1, torch.zeros(4)) == 0


def test_the_graph_has_no_breaks() -> None:
    torch._dynamo.reset()
    inputs = {
        name: t.float() for name, t in named(rows(8, 4, 0), soft(8, 3, 1)).items()
    }
    criterion = CCLoss(3)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    for weights in (None, torch.arange(8) % 2):
        torch.testing.assert_close(
            compiled(**inputs, weights=weights), criterion(**inputs, weights=weights)
        )


@pytest.mark.parametrize("k", [2, 5])
def test_degenerate_assignments_are_finite(k: int) -> None:
    n = 8
    cases = (
        torch.eye(k)[:1].repeat(n, 1),  # one cluster has all images
        torch.eye(k)[torch.arange(n) % k],
        torch.full((n, k), 1 / k),
        torch.zeros(n, k),
    )
    for first, second in product(cases, repeat=2):
        a0, a1 = first.clone().requires_grad_(), second.clone().requires_grad_()
        loss = CONTRAST(a0, a1)
        loss.backward()
        expected = cluster_by_loop(first.double(), second.double(), 1.0)
        assert loss.item() == pytest.approx(expected, abs=1e-5)
        assert a0.grad.abs().max() < 1e4 and a1.grad.abs().max() < 1e4


def test_rows_of_zeros_and_equal_rows_are_finite() -> None:
    for first, second in product((torch.ones(4, 3), torch.zeros(4, 3)), repeat=2):
        x0, x1 = first.clone().requires_grad_(), second.clone().requires_grad_()
        loss = nt_xent_loss(x0, x1)
        loss.backward()
        assert loss.isfinite()
        assert x0.grad.abs().max() < 1e4 and x1.grad.abs().max() < 1e4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x, a = (tuple(t.to(dtype) for t in pair) for pair in (rows(8, 4, 0), soft(8, 3, 1)))
    in_float32 = {name: t.float() for name, t in named(x, a).items()}
    expected = CCLoss(3)(**in_float32)
    torch.testing.assert_close(CCLoss(3)(**named(x, a)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = CCLoss(3)(**in_float32)
    torch.testing.assert_close(under_autocast, expected, rtol=0, atol=0)
    in_float64 = CCLoss(3)(**{name: t.double() for name, t in in_float32.items()})
    assert all(term.dtype == torch.float64 for term in in_float64)


A = torch.full((4, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CONTRAST(A, A[:2]), ValueError, "assignments1 has shape (2, 2), but"),
        (
            lambda: ClusterContrastiveLoss(3)(A, A),
            ValueError,
            "assignments0 must have n_clusters=3 columns, got 2",
        ),
        (
            lambda: CONTRAST(A, A, torch.ones(3)),
            ValueError,
            "weights must have shape (4,), got (3,)",
        ),
        (
            lambda: CONTRAST(A, A, torch.tensor([1.0, 2.0, -3.0, 0.0])),
            ValueError,
            "weights must be finite and >= 0, got values from -3.0 to 2.0",
        ),
        (lambda: CCLoss(0), ValueError, "n_clusters must be at least 2, got 0"),
        (
            lambda: CCLoss(2, cluster_temperature=math.nan),
            ValueError,
            "cluster_temperature must be > 0, got nan",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()  # type: ignore[operator]
